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
    artifacts = [{**artifact, "url": artifact_url(artifact["sha256"])} for artifact in view["artifacts"]]
    return jsonable_encoder({**view, "artifacts": artifacts, "links": links})
