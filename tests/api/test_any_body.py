"""Whatever is posted, the answer is an answer and never an error of our own."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmac_core.specs import JOB_SPEC

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**80), 2**80), st.floats(), st.text(max_size=20),
    st.sampled_from(["pretrain", "pack", "retrieval", "paper", "small", "moving", "moving@1", "urgent", "\0"]),
)  # fmt: skip


def names(schema: Any) -> set[str]:
    """Every field's name that some spec has."""
    if isinstance(schema, dict):
        found = set(schema.get("properties", {}))
        return found.union(*map(names, schema.values())) if schema else found
    return set().union(*map(names, schema)) if isinstance(schema, list) else set()


FIELDS = st.one_of(st.sampled_from(sorted(names(JOB_SPEC.json_schema()))), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=12
)
BODIES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["pack", "import", "pretrain", "retrieval", "probe", "attention"])},
    optional={
        "dataset": st.sampled_from(["moving", "none"]),
        "preset": st.sampled_from(["small", "paper", "projected", "mutual"]),
        "source": st.one_of(VALUES, st.just({"generate": "sounding-objects"})),
        "checkpoint": st.one_of(VALUES, st.just({"random_init": True})), "init": VALUES, "layout": VALUES,
        "modality": st.sampled_from(["audio", "video"]),
        "queue": VALUES, "resources": VALUES, "data": VALUES, "optim": VALUES, "split": VALUES, "seed": SCALARS,
        "name": st.text(max_size=30), "where": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    },
)  # fmt: skip
EXPERIMENTS = st.fixed_dictionaries(
    {"kind": st.just("experiment")},
    optional={
        "recipe": st.sampled_from(["table-1", "figure-4", "all", "none"]),
        "scale": st.sampled_from(["small", "paper"]),
        "dataset": st.sampled_from(["moving", "none"]),
        "preset": SCALARS, "seeds": st.lists(SCALARS, max_size=3), "queue": VALUES, "resources": VALUES,
        "set": st.dictionaries(st.one_of(FIELDS, st.sampled_from(["optim.lr", "probe.k", "a.b"])), VALUES, max_size=3),
        "base": st.one_of(VALUES, BODIES), "grid": st.dictionaries(FIELDS, st.lists(VALUES, max_size=3), max_size=2),
        "rows": st.lists(st.fixed_dictionaries({"key": SCALARS}, optional={"set": VALUES}), max_size=3),
        "then": st.lists(st.fixed_dictionaries({"key": SCALARS, "spec": st.one_of(VALUES, BODIES)}), max_size=2),
    },
)  # fmt: skip
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
BOUNDED = settings(max_examples=80, deadline=None, suppress_health_check=FIXTURES)


def check(lab: Any, body: bytes) -> None:
    answer = lab.http.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (202, 400, 403, 413, 422), (answer.text, body)
    if answer.status_code != 202:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        for error in answer.json().get("errors", []):
            assert error["pointer"] == "" or error["pointer"].startswith("/")
            assert error["message"]


@BOUNDED
@given(body=BODIES)
def test_a_nearly_right_spec_never_breaks_the_service(lab: Any, body: dict[str, Any]) -> None:
    check(lab, json.dumps(body).encode())


@BOUNDED
@given(body=VALUES)
def test_any_json_never_breaks_the_service(lab: Any, body: Any) -> None:
    check(lab, json.dumps(body).encode())


@BOUNDED
@given(body=st.binary(max_size=200))
def test_any_bytes_never_break_the_service(lab: Any, body: bytes) -> None:
    check(lab, body)


@settings(BOUNDED, max_examples=25)
@given(name=st.text(max_size=10), value=st.text(max_size=30))
def test_any_filter_never_breaks_a_list(lab: Any, name: str, value: str) -> None:
    for key in (name, f"label.{name}", "name", "cursor", "dataset", "owner", "submitted_after", "state", "limit"):
        answer = lab.http.get("/jobs", params={key: value.encode("utf-8", "replace")})
        assert answer.status_code in (200, 400), (key, value, answer.text)


@BOUNDED
@given(body=EXPERIMENTS)
def test_a_nearly_right_experiment_never_breaks_the_service(lab: Any, body: dict[str, Any]) -> None:
    check(lab, json.dumps(body).encode())
