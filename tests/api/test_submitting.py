"""POST /jobs: what is taken, and everything that is refused with a word that helps."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from cmac_core.specs import KINDS

RETRIEVAL: dict[str, Any] = {
    "kind": "retrieval", "dataset": "moving", "checkpoint": {"random_init": True}, "preset": "small",
    "resources": {"cpu_slots": 1},
}  # fmt: skip
PRETRAIN: dict[str, Any] = {
    "kind": "pretrain",
    "dataset": "moving",
    "preset": "small",
    "model": {"bn_group": 8},
    "resources": {"cpu_slots": 2},
}


def refusal(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """A problem in the one form that all have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["type"] == f"/problems/{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    return problem


def count(lab: Any) -> int:
    return int(lab.http.get("/jobs", params={"count": True, "limit": 1}).json()["count"])


def test_a_job_is_accepted_and_can_be_found_at_once(lab: Any) -> None:
    answer = lab.http.post("/jobs", json=RETRIEVAL | {"name": "first"})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["kind"], job["name"], job["version"]) == ("queued", "retrieval", "first", 1)
    assert job["spec"]["dataset"] == "moving@1"
    assert job["spec"]["geometry"]["frames"] == 8  # the preset is expanded
    assert job["sent"] == RETRIEVAL | {"name": "first"}  # and what was written is kept
    found = lab.http.get(job["links"]["self"])
    assert found.json() == job
    assert found.headers["etag"] == answer.headers["etag"]


def test_a_body_with_a_byte_order_mark_and_no_content_type_is_still_json(lab: Any) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(RETRIEVAL).encode()
    assert lab.http.post("/jobs", content=body).status_code == 202


def test_every_wrong_field_is_named_at_once_with_a_guess(lab: Any) -> None:
    before = count(lab)
    body = PRETRAIN | {"optim": {"lr": -1, "bacth": 8}, "seeed": 1}
    problem = refusal(lab.http.post("/jobs", json=body), 422, "invalid_spec")
    errors = {error["pointer"]: error for error in problem["errors"]}
    assert set(errors) == {"/optim/lr", "/optim/bacth", "/seeed"}
    assert errors["/optim/bacth"]["hint"] == "did you mean batch?"
    assert errors["/seeed"]["hint"] == "did you mean seed?"
    assert errors["/optim/lr"]["got"] == -1
    assert count(lab) == before


@pytest.mark.parametrize("kind", ["pretain", None, 3, ["pretrain"]])
def test_a_kind_that_there_is_not_is_answered_with_those_there_are(lab: Any, kind: Any) -> None:
    problem = refusal(lab.http.post("/jobs", json=PRETRAIN | {"kind": kind}), 422, "invalid_spec")
    assert [error["pointer"] for error in problem["errors"]] == ["/kind"]
    assert ", ".join(KINDS) in problem["errors"][0]["message"]


@pytest.mark.parametrize("body", [[], "text", 3, None, True])
def test_a_body_that_is_no_object_is_refused(lab: Any, body: Any) -> None:
    problem = refusal(lab.http.post("/jobs", content=json.dumps(body).encode()), 422, "invalid_spec")
    assert problem["errors"][0]["pointer"] == ""


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"data": {"crop": 0}}, "/data/crop"),
        ({"data": {"crop": 300}}, "/data"),
        ({"moco": {"K": -5}}, "/moco/K"),
        ({"model": {"width": 10**30}}, "/model/width"),
        ({"optim": {"batch": 33}}, "/optim/batch"),
        ({"seed": 10**30}, "/seed"),
    ],
)
def test_impossible_sizes_are_refused(lab: Any, changes: dict[str, Any], pointer: str) -> None:
    problem = refusal(lab.http.post("/jobs", json=PRETRAIN | changes), 422, "invalid_spec")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_more_devices_than_any_machine_has_could_never_run(lab: Any) -> None:
    body = PRETRAIN | {"resources": {"gpus": 16}, "optim": {"batch": 64}, "model": {"bn_group": 4}}
    problem = refusal(lab.http.post("/jobs", json=body), 422, "infeasible")
    assert problem["needs"]["gpus"] == 16
    assert problem["largest"] == {"gpus": 0, "cpu_slots": 64}


def test_an_unknown_dataset_is_named(lab: Any) -> None:
    problem = refusal(lab.http.post("/jobs", json=PRETRAIN | {"dataset": "moovin@7"}), 422, "unknown_reference")
    assert problem["errors"][0]["pointer"] == "/dataset"


def test_an_unknown_checkpoint_and_job_are_named(lab: Any) -> None:
    for checkpoint in ({"id": str(uuid.uuid4())}, {"job": str(uuid.uuid4())}):
        body = RETRIEVAL | {"checkpoint": checkpoint}
        problem = refusal(lab.http.post("/jobs", json=body), 422, "unknown_reference")
        assert problem["errors"][0]["pointer"].startswith("/checkpoint")


def test_cmac_needs_a_dataset_with_sound(lab: Any) -> None:
    lab.dataset("silent", with_audio=0)
    problem = refusal(lab.http.post("/jobs", json=PRETRAIN | {"dataset": "silent"}), 422, "incompatible")
    assert problem["errors"][0]["pointer"] == "/dataset"
    assert "no sound" in problem["errors"][0]["message"]


def test_a_checkpoint_of_another_architecture_does_not_fit(lab: Any) -> None:
    listener = lab.http.post("/jobs", json=PRETRAIN | {"objective": "single_a"}).json()
    body = RETRIEVAL | {"checkpoint": {"job": listener["id"]}}
    problem = refusal(lab.http.post("/jobs", json=body), 422, "incompatible")
    assert problem["errors"][0]["pointer"] == "/checkpoint"
    assert "no trained video encoder" in problem["errors"][0]["message"]


def test_an_evaluation_waits_for_the_training_that_it_names(lab: Any) -> None:
    training = lab.http.post("/jobs", json=PRETRAIN).json()
    evaluation = lab.http.post("/jobs", json=RETRIEVAL | {"checkpoint": {"job": training["id"]}}).json()
    assert evaluation["state"] == "blocked"
    assert [parent["job"] for parent in evaluation["after"]] == [training["id"]]
    assert training["id"] in evaluation["waiting"]["text"]


def test_a_dry_run_tells_everything_and_stores_nothing(lab: Any) -> None:
    before = count(lab)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answer = lab.http.post("/jobs", params={"dry_run": True}, json=RETRIEVAL, headers=key)
    assert answer.status_code == 200
    assert answer.json()["spec"]["dataset"] == "moving@1"
    assert answer.json()["feasible_nodes"] == ["here"]
    assert count(lab) == before
    # The key is as good as new.
    assert lab.http.post("/jobs", json=RETRIEVAL, headers=key).status_code == 202
    refusal(lab.http.post("/jobs", params={"dry_run": True}, json=RETRIEVAL | {"seeed": 1}), 422, "invalid_spec")


def test_the_same_key_gives_the_same_job_again(lab: Any) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = lab.http.post("/jobs", json=RETRIEVAL, headers=key)
    before = count(lab)
    second = lab.http.post("/jobs", json=dict(reversed(RETRIEVAL.items())), headers=key)
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert count(lab) == before


def test_the_same_key_at_the_same_time_makes_one_job(lab: Any) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    before = count(lab)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: lab.http.post("/jobs", json=RETRIEVAL, headers=key), range(4)))
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(lab) == before + 1


def test_the_same_key_with_another_body_is_refused(lab: Any) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    assert lab.http.post("/jobs", json=RETRIEVAL, headers=key).status_code == 202
    before = count(lab)
    answer = lab.http.post("/jobs", json=RETRIEVAL | {"seed": 7}, headers=key)
    refusal(answer, 422, "idempotency_mismatch")
    assert count(lab) == before


def test_a_request_that_failed_uses_up_no_key(lab: Any) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    refusal(lab.http.post("/jobs", json=RETRIEVAL | {"dataset": "none"}, headers=key), 422, "unknown_reference")
    assert lab.http.post("/jobs", json=RETRIEVAL, headers=key).status_code == 202


def test_json_with_a_slip_is_answered_with_line_and_column(lab: Any) -> None:
    problem = refusal(lab.http.post("/jobs", content=b'{"kind":\n "pack",,}'), 400, "malformed_json")
    assert (problem["line"], problem["column"]) == (2, 9)


def test_a_form_is_no_json(lab: Any) -> None:
    problem = refusal(lab.http.post("/jobs", data={"kind": "pack"}), 415, "unsupported_media_type")
    assert problem["supported"] == ["application/json"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_is_too_large_is_not_read(lab: Any, streamed: bool) -> None:
    block = b" " * (1 << 19)
    body: Any = iter([block, block, b"{}"]) if streamed else block + block + b"{}"
    problem = refusal(lab.http.post("/jobs", content=body), 413, "too_large")
    assert problem["limit"] == 1 << 20


def test_what_a_viewer_may_not_do_names_the_role_it_needs(lab: Any) -> None:
    with lab.client(lab.key("viewer")) as http:
        problem = refusal(http.post("/jobs", json=RETRIEVAL), 403, "forbidden")
    assert problem["needs_role"] == "submitter"


def test_cancel_ends_a_waiting_job_and_asking_again_changes_nothing(lab: Any) -> None:
    job = lab.submit()
    first = lab.http.post(f"/jobs/{job}/cancel")
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    second = lab.http.post(f"/jobs/{job}/cancel")
    assert (second.status_code, second.json()) == (202, first.json())


def test_a_finished_job_cannot_be_cancelled(lab: Any) -> None:
    job = lab.submit()
    lab.succeed(lab.start(job))
    problem = refusal(lab.http.post(f"/jobs/{job}/cancel"), 409, "illegal_move")
    assert (problem["state"], problem["allowed"]) == ("succeeded", [])


def test_a_retry_is_a_new_job_of_the_same_spec(lab: Any) -> None:
    job = lab.submit(seed=11)
    lab.http.post(f"/jobs/{job}/cancel")
    answer = lab.http.post(f"/jobs/{job}/retry")
    assert answer.status_code == 202
    assert (answer.json()["retry_of"], answer.json()["seed"]) == (job, 11)
    problem = refusal(lab.http.post(f"/jobs/{job}/retry", json={"fresh": True}), 409, "already_exists")
    assert problem["existing"] == answer.json()["id"]
    refusal(lab.http.post(f"/jobs/{job}/retry", json={"frsh": True}), 422, "invalid_spec")
