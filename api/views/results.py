"""The body of /results/{id}: what the store says, with links."""

from typing import Any

from fastapi.encoders import jsonable_encoder

from api.views.data import artifact_url


def result_body(view: dict[str, Any]) -> Any:
    """`view` is `store.results.view`'s."""
    here = f"/jobs/{view['id']}"
    links = {"self": f"/results/{view['id']}", "job": here, "events": f"{here}/events/stream", "logs": f"{here}/logs"}
    if view["kind"] == "attention":
        links["attention"] = f"/results/{view['id']}/attention"
    if view["state"] in ("failed", "cancelled"):
        links["retry"] = f"{here}/retry"
    values = [_value(value) for value in view["values"]]
    artifacts = [{**artifact, "url": artifact_url(artifact["sha256"])} for artifact in view["artifacts"]]
    return jsonable_encoder({**view, "values": values, "artifacts": artifacts, "links": links})


def _value(value: dict[str, Any]) -> dict[str, Any]:
    """The interval under both of its names: as a pair, and apart for tables."""
    low, high = value.get("ci95", (None, None))
    return value if low is None else {**value, "ci_low": low, "ci_high": high}
