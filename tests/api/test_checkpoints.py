"""Checkpoints over HTTP: weights come in as a job, and leave as safetensors with a card."""

import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest

from cmac_core.events import Ended, Result, Saved, Value
from store.fence import Lease
from store.keys import Role
from tests.api.conftest import RETRIEVAL

WEIGHTS = b"safetensors, as far as the service knows" * 100


@pytest.fixture
def root(lab: Any, tmp_path: Path) -> str:
    """A root with a file of weights."""
    name = f"r-{uuid.uuid4().hex[:6]}"
    (tmp_path / "weights.pt").write_bytes(b"weights")
    assert lab.http.post("/roots", json={"name": name, "path": str(tmp_path)}).status_code == 201
    return name


def saved(lab: Any, job: str, lease: Lease, step: int, kind: str = "full") -> None:
    """A checkpoint on disk and the event that tells of it."""
    path = f"checkpoints/step-{step:08}/state.pt"
    file = lab.folder(job) / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"state")
    digest = hashlib.sha256(b"state").hexdigest()
    lab.tell(lease, Saved(step=step, train_epoch=step / 4, path=path, sha256=digest, bytes=5, kind=kind))


@pytest.fixture
def trained(lab: Any) -> tuple[str, str]:
    """Ids of two checkpoints of a pretraining: one in its middle, and the last, which is exported."""
    spec = {"kind": "pretrain", "dataset": "moving", "preset": "small", "name": "base", "checkpoints": {"keep": 0}}
    job = lab.http.post("/jobs", json={**spec, "resources": {"cpu_slots": 1}}).json()["id"]
    lease = lab.start(job)
    saved(lab, job, lease, 4)
    saved(lab, job, lease, 8)
    lab.tell(lease, lab.artifact(job, "encoders.safetensors", WEIGHTS, "application/octet-stream", "encoders", step=8))
    lab.succeed(lease)
    last, middle = lab.http.get("/checkpoints", params={"job": job}).json()["items"]
    return middle["id"], last["id"]


def test_weights_come_in_as_a_job(lab: Any, root: str) -> None:
    answer = lab.http.post("/checkpoints", json={"root": root, "path": "weights.pt", "layout": "gdt", "name": "GDT"})
    body = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/jobs/{body['id']}")
    assert (body["kind"], body["name"], body["state"]) == ("import", "GDT", "queued")
    assert body["spec"]["source"] == {"root": root, "path": "weights.pt"}
    assert body["spec"]["layout"] == "gdt"
    lease = lab.start(body["id"])
    saved(lab, body["id"], lease, 0, "weights")
    protocol = {"layout": "gdt", "encoders": ["audio", "video"], "model": {"width": 64, "depth": 2}}
    value = Value(name="parameters", value=31_300_125, unit="", n=185, modality="video")
    lab.tell(lease, Result(values=(value,), protocol=protocol), Ended(outcome="finished"))
    lab.finish(lease)
    assert lab.http.get(f"/results/{body['id']}").json()["state"] == "succeeded"
    evaluation = lab.submit(checkpoint={"job": body["id"]})
    assert lab.row(evaluation).checkpoint_job == uuid.UUID(body["id"])


def test_the_same_key_imports_once(lab: Any, root: str) -> None:
    body, key = {"root": root, "path": "weights.pt"}, {"Idempotency-Key": uuid.uuid4().hex}
    one, other = (lab.http.post("/checkpoints", json=body, headers=key) for _ in range(2))
    assert one.json()["id"] == other.json()["id"]
    assert other.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"layout": "xdc"}, "/layout"),
        ({"path": "../weights.pt"}, "/source/path"),
        ({"path": "other.pt"}, "/source/path"),
        ({"root": "nowhere"}, "/source/root"),
        ({"file": "weights.pt"}, "/file"),
        ({"path": ""}, "/path"),
    ],
)
def test_what_cannot_be_imported_is_named(lab: Any, root: str, change: dict[str, str], pointer: str) -> None:
    answer = lab.http.post("/checkpoints", json={"root": root, "path": "weights.pt"} | change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_viewer_imports_nothing(lab: Any, root: str) -> None:
    with lab.client(lab.key(Role.viewer)) as http:
        assert http.post("/checkpoints", json={"root": root, "path": "weights.pt"}).status_code == 403


def test_one_checkpoint_tells_its_lineage_and_where_its_weights_are(lab: Any, trained: tuple[str, str]) -> None:
    middle, last = (lab.http.get(f"/checkpoints/{one}").json() for one in trained)
    assert last["file"] == f"/checkpoints/{trained[1]}/file"
    assert (last["file_sha256"], last["file_bytes"]) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    assert last["lineage"]["dataset"]["name"] == "moving@1"
    assert last["lineage"]["kind"] == "pretrain"
    assert "path" not in last
    assert (middle["file"], middle["file_sha256"]) == (None, None)


def test_weights_leave_whole_or_in_part(lab: Any, trained: tuple[str, str]) -> None:
    url = f"/checkpoints/{trained[1]}/file"
    answer = lab.http.get(url)
    assert (answer.status_code, answer.content) == (200, WEIGHTS)
    assert "encoders.safetensors" in answer.headers["content-disposition"]
    part = lab.http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, WEIGHTS[10:20])
    assert lab.http.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert lab.http.head(url).headers["content-length"] == str(len(WEIGHTS))


def test_a_checkpoint_from_the_middle_of_a_training_has_no_weights_to_give(lab: Any, trained: tuple[str, str]) -> None:
    answer = lab.http.get(f"/checkpoints/{trained[0]}/file")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "a training exports its encoders at its end, and this is step 4 of job" in answer.json()["detail"]


def test_a_file_that_was_removed_is_gone(lab: Any, trained: tuple[str, str]) -> None:
    job = lab.http.get(f"/checkpoints/{trained[1]}").json()["job_id"]
    (lab.folder(job) / "encoders.safetensors").unlink()
    answer = lab.http.get(f"/checkpoints/{trained[1]}/file")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def test_the_card_is_markdown(lab: Any, trained: tuple[str, str]) -> None:
    answer = lab.http.get(f"/checkpoints/{trained[1]}/card")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert answer.text.startswith("# base\n")
    assert "- dataset: moving@1" in answer.text


def test_another_projects_checkpoint_is_not_there(lab: Any, trained: tuple[str, str], project: str) -> None:
    with lab.client(lab.key(Role.operator, project)) as http:
        for part in ("", "/file", "/card"):
            assert http.get(f"/checkpoints/{trained[1]}{part}").status_code == 404


def test_a_checkpoint_is_removed_unless_it_is_pinned_or_named(lab: Any, trained: tuple[str, str]) -> None:
    middle, last = trained
    assert lab.http.post(f"/checkpoints/{middle}/pin").json()["pinned_by"] == "admin"
    pinned = lab.http.delete(f"/checkpoints/{middle}")
    assert (pinned.status_code, pinned.json()["code"], pinned.json()["by"]) == (409, "in_use", "admin")
    assert lab.http.post(f"/checkpoints/{middle}/unpin").json()["pinned_by"] is None
    reader = lab.submit(checkpoint={"id": middle})
    assert lab.http.delete(f"/checkpoints/{middle}").json()["by"] == reader
    for _ in range(2):
        removed = lab.http.delete(f"/checkpoints/{last}")
        assert (removed.status_code, removed.json()["state"]) == (202, "deleting")
    job = removed.json()["job_id"]
    assert str(lab.row(job).resume_checkpoint) == middle
    states = {one["id"]: one["state"] for one in lab.http.get(f"/jobs/{job}/checkpoints").json()["items"]}
    assert states == {last: "deleting", middle: "ok"}
    assert [one["id"] for one in lab.http.get("/checkpoints", params={"job": job}).json()["items"]] == [middle]
    assert lab.http.post(f"/checkpoints/{last}/pin").status_code == 409
    refused = lab.http.post("/jobs", json=RETRIEVAL | {"checkpoint": {"id": last}})
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (422, "that checkpoint is deleting")


def test_what_an_evaluation_of_the_job_reads_and_what_may_go_on_stays(lab: Any, trained: tuple[str, str]) -> None:
    job = lab.http.get(f"/checkpoints/{trained[1]}").json()["job_id"]
    evaluation = lab.submit(checkpoint={"job": job})
    assert lab.http.delete(f"/checkpoints/{trained[1]}").json()["by"] == evaluation
    spec = {"kind": "pretrain", "dataset": "moving", "preset": "small", "resources": {"cpu_slots": 1}}
    going = lab.http.post("/jobs", json=spec).json()["id"]
    lease = lab.start(going)
    saved(lab, going, lease, 1)
    (row,) = lab.http.get(f"/jobs/{going}/checkpoints").json()["items"]
    assert lab.http.delete(f"/checkpoints/{row['id']}").json()["by"] == going


def test_a_job_whose_last_checkpoint_was_removed_is_refused_as_an_input(lab: Any, trained: tuple[str, str]) -> None:
    job = lab.http.get(f"/checkpoints/{trained[1]}").json()["job_id"]
    for one in trained:
        assert lab.http.delete(f"/checkpoints/{one}").status_code == 202
    refused = lab.http.post("/jobs", json=RETRIEVAL | {"checkpoint": {"job": job}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "that job's last checkpoint was removed"
