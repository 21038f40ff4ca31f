"""Holding, releasing, pausing and changing jobs over HTTP."""

from typing import Any

import pytest

from tests.api.test_submitting import refusal


def test_links_name_the_verbs_that_a_state_admits(lab: Any) -> None:
    job = lab.http.get(f"/jobs/{lab.submit()}").json()
    assert {"cancel", "hold"} <= {name for name, link in job["links"].items() if link}
    assert job["links"]["pause"] is None
    held = lab.http.post(job["links"]["hold"])
    assert (held.status_code, held.json()["state"], held.json()["waiting"]["code"]) == (202, "held", "held")
    assert held.headers["etag"] == lab.http.get(f"/jobs/{job['id']}").headers["etag"]
    released = lab.http.post(held.json()["links"]["release"]).json()
    assert (released["state"], released["position"] is None) == ("queued", False)
    problem = refusal(lab.http.post(f"/jobs/{job['id']}/pause"), 409, "illegal_move")
    assert problem["allowed"] == ["cancel", "hold"]


def test_a_change_needs_the_row_that_was_read(lab: Any) -> None:
    path = f"/jobs/{lab.submit(queue={'labels': {'a': '1', 'b': '2'}})}"
    body = {"priority": "low", "labels": {"a": None, "c": "3"}}
    refusal(lab.http.patch(path, json=body), 428, "precondition_required")
    read = lab.http.get(path)
    changed = lab.http.patch(path, json=body, headers={"If-Match": read.headers["etag"]})
    assert (changed.status_code, changed.json()["priority"]) == (200, "low")
    assert changed.json()["labels"] == {"b": "2", "c": "3"}
    assert changed.json()["spec"] == read.json()["spec"]
    stale = refusal(
        lab.http.patch(path, json=body, headers={"If-Match": read.headers["etag"]}), 412, "precondition_failed"
    )
    assert stale["etag"] == lab.http.get(path).headers["etag"]
    assert lab.http.patch(path, json={"name": "x"}, headers={"If-Match": "*"}).json()["name"] == "x"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"state": "running"}, "/state"),
        ({"priority": "top"}, "/priority"),
        ({"max_restarts": 1000}, "/max_restarts"),
        ({"labels": {"x" * 65: "1"}}, "/labels"),
        ({"labels": {str(i): "1" for i in range(33)}}, "/labels"),
        ([], ""),
    ],
)
def test_a_change_that_makes_no_sense_names_its_field(lab: Any, body: object, pointer: str) -> None:
    answer = lab.http.patch(f"/jobs/{lab.submit()}", json=body, headers={"If-Match": "*"})
    problem = refusal(answer, 422, "invalid_spec")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_a_job_that_is_over_is_deleted_and_gone(lab: Any) -> None:
    job = lab.submit()
    running = lab.http.delete(f"/jobs/{job}")
    assert (running.status_code, running.json()["code"], running.json()["state"]) == (409, "illegal_move", "queued")
    lab.succeed(lab.start(job))
    assert lab.http.delete(f"/jobs/{job}").status_code == 204
    for path in ("jobs/{}", "jobs/{}/logs", "jobs/{}/metrics", "jobs/{}/events", "jobs/{}/checkpoints", "results/{}"):
        gone = lab.http.get(f"/{path.format(job)}")
        assert (gone.status_code, gone.json()["code"]) == (410, "gone"), path
    assert gone.json()["removed_at"]
    assert lab.http.delete(f"/jobs/{job}").status_code == 410
    assert job not in [row["id"] for row in lab.http.get("/jobs", params={"limit": 200}).json()["items"]]
    row = lab.http.get("/audit", params={"action": "job.delete", "target": job}).json()["items"][0]
    assert (row["user"], row["before"]) == ("admin", {"name": "", "kind": "retrieval"})
