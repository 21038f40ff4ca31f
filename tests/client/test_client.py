"""The Python client against the real service."""

import io
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy
import pytest

from client import Client, JobCancelled, JobFailed, WaitTimeout
from client.errors import (
    BadInput,
    IdempotencyMismatch,
    IllegalMove,
    InvalidSpec,
    NotFound,
    Unauthenticated,
    UnknownReference,
)
from cmac_core.events import Progress, Warned
from cmac_core.specs import RandomInit, Retrieval
from store.ends import Reason
from tests.api.conftest import RETRIEVAL, Lab


def test_a_typed_spec_becomes_a_job_and_its_result_plain_objects(client: Client, lab: Lab) -> None:
    spec = Retrieval(checkpoint=RandomInit(random_init=True), dataset="moving", preset="small")
    job = client.submit(spec)
    assert (job.kind, job.state) == ("retrieval", "queued")
    lab.succeed(lab.start(job.id))
    result = job.wait(timeout=5)
    assert (result["r@1"].value, result["r@1"].n, result["r@1"].chance) == (57.9, 20, 12.5)
    assert result.pick("r@1", pool="gap").labels == {"pool": "gap", "split": "1"}
    assert result.lineage.seed == 0
    with pytest.raises(KeyError, match=r"there are r@1"):
        result["accuracy"]


def test_a_job_stands_for_its_checkpoint_in_a_spec(client: Client) -> None:
    pretrain = client.submit({"kind": "pretrain", "dataset": "moving", "preset": "small"})
    evaluation = client.submit({**RETRIEVAL, "checkpoint": pretrain})
    assert evaluation.state == "blocked"
    assert evaluation.row["spec"]["checkpoint"] == {"job": pretrain.id, "which": "last"}
    assert Retrieval(checkpoint=pretrain.checkpoint, dataset="moving").checkpoint == pretrain.checkpoint


def test_the_same_key_gives_the_same_job_and_another_body_is_refused(client: Client) -> None:
    key = str(uuid.uuid4())
    first = client.submit(RETRIEVAL, idempotency_key=key)
    assert client.submit(RETRIEVAL, idempotency_key=key).id == first.id
    with pytest.raises(IdempotencyMismatch):
        client.submit({**RETRIEVAL, "seed": 7}, idempotency_key=key)


def test_a_typo_names_the_field_and_guesses(client: Client) -> None:
    with pytest.raises(InvalidSpec) as caught:
        client.submit({"kind": "pretrain", "dataset": "moving", "optim": {"learnrate": 1}, "seed": -1})
    assert {error.pointer for error in caught.value.errors} == {"/optim/learnrate", "/seed"}
    assert "/optim/learnrate: no such field" in str(caught.value)


def test_what_is_not_there_is_named(client: Client) -> None:
    with pytest.raises(UnknownReference, match="nowhere"):
        client.submit({**RETRIEVAL, "dataset": "nowhere"})
    with pytest.raises(NotFound):
        client.job(str(uuid.uuid4()))
    with pytest.raises(BadInput, match=r"no dataset 'nowhere'; there are: .*moving@1"):
        client.dataset("nowhere")


def test_a_wrong_key_opens_nothing(lab: Lab) -> None:
    with Client(lab.url, "cmac_0123456789ab_" + "x" * 43) as client, pytest.raises(Unauthenticated):
        client.me()


def test_a_failed_job_says_why_and_what_to_do(client: Client, lab: Lab) -> None:
    job = client.submit(RETRIEVAL)
    lab.finish(lab.start(job.id), Reason.oom, detail="out of memory", hint="halve the batch", log_tail="Traceback")
    with pytest.raises(JobFailed) as caught:
        job.wait()
    assert (caught.value.reason, caught.value.hint, caught.value.log_tail) == ("oom", "halve the batch", "Traceback")
    assert str(caught.value).splitlines()[1] == "  hint: halve the batch"


def test_a_cancelled_job_and_one_that_takes_too_long_are_told_apart(client: Client) -> None:
    job = client.submit(RETRIEVAL)
    with pytest.raises(WaitTimeout, match=r"still queued after 0\.01 s; it goes on"):
        job.wait(timeout=0.01)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.wait()
    assert job.cancel().state == "cancelled"  # asking again changes nothing


def test_what_is_done_cannot_be_cancelled(client: Client, lab: Lab) -> None:
    job = client.submit(RETRIEVAL)
    lab.succeed(lab.start(job.id))
    with pytest.raises(IllegalMove) as caught:
        job.cancel()
    assert caught.value.extra["state"] == "succeeded"


def test_a_short_prefix_finds_a_job(client: Client) -> None:
    job = client.submit(RETRIEVAL)
    assert client.job(job.id[:8]).id == job.id
    with pytest.raises(BadInput, match="no job begins with 'zz'"):
        client.job("zz")
    with pytest.raises(BadInput, match="too short"):
        client.job("a")


def test_lists_go_on_over_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"many-{uuid.uuid4().hex[:6]}"
    made = [client.submit({**RETRIEVAL, "name": f"{name}-{i}"}).id for i in range(5)]
    monkeypatch.setattr("client.pages.PAGE", 2)
    assert [job.id for job in client.jobs(name=name)] == made[::-1]
    assert [job.id for job in client.jobs(3, name=name)] == made[:1:-1]


def test_events_come_live_until_the_end_and_go_on_behind_the_last_one(client: Client, lab: Lab) -> None:
    job = client.submit(RETRIEVAL)

    def work() -> None:
        time.sleep(0.3)
        lease = lab.start(job.id)
        lab.tell(lease, Progress(phase="extract", step=3, of=9, rate=1.5, unit="clips"))
        time.sleep(0.5)
        lab.tell(lease, Warned(code="few", message="few clips"))
        lab.succeed(lease)

    thread = threading.Thread(target=work)
    thread.start()
    events = list(job.events())
    thread.join()
    kept = [event for event in events if event.id]
    assert [event.id for event in kept] == [str(i + 1) for i in range(len(kept))]
    assert "progress" in {event.type for event in events}
    assert events[-1].type == "end"
    assert [event.id for event in job.events(after="2")] == [event.id for event in kept[2:]]
    assert [row["seq"] for row in job.history()] == [int(event.id) for event in kept]


def test_attention_maps_come_as_arrays_and_files(client: Client, lab: Lab, tmp_path: Path) -> None:
    job = client.submit(RETRIEVAL)
    lease = lab.start(job.id)
    stored = io.BytesIO()
    numpy.savez(stored, map=numpy.full((2, 4, 4), 0.5, numpy.float32))
    meta: dict[str, Any] = {"clip": "a/b", "modality": "video", "map": "s", "t0_s": 0.5, "shape": [2, 4, 4]}
    lab.tell(
        lease,
        lab.artifact(job.id, "ab.npz", stored.getvalue(), "application/x-npz", "attention_raw", **meta),
        lab.artifact(job.id, "ab.png", b"\x89PNG", "image/png", "attention_png", **meta),
    )
    lab.succeed(lease)
    (found,) = job.attention(clip="a/b", map="s")
    assert (found.modality, found.shape, found.t0_s) == ("video", (2, 4, 4), 0.5)
    assert found.array().shape == (2, 4, 4)
    assert [path.name for path in found.save(tmp_path, ("png", "mp4"))] == ["a_b.video.s.png"]
    assert (tmp_path / "a_b.video.s.png").read_bytes() == b"\x89PNG"
    assert [artifact.name for artifact in job.artifacts()] == ["ab.npz", "ab.png"]
    assert job.result().artifacts[1].save(tmp_path).read_bytes() == b"\x89PNG"


def test_a_dry_run_stores_nothing(client: Client) -> None:
    name = f"dry-{uuid.uuid4().hex[:6]}"
    answer = client.dry_run({**RETRIEVAL, "name": name})
    assert answer["spec"]["geometry"]["frames"] == 8
    assert list(client.jobs(name=name)) == []


def test_the_whole_queue_comes_over_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {client.submit({**RETRIEVAL, "name": f"waits {i}"}).id for i in range(3)}
    monkeypatch.setattr("client.pages.PAGE", 2)
    rows = list(client.queue())
    assert made <= {row["id"] for row in rows}
    assert [row["position"] for row in rows] == sorted(row["position"] for row in rows)
    assert len(list(client.queue(2))) == 2
