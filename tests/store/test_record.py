"""What the core tells becomes rows, each line once."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from cmac_core.events import (
    Artifact,
    DatasetMade,
    Ended,
    Metrics,
    Progress,
    Replaced,
    Result,
    Saved,
    Started,
    Value,
    Warned,
)  # fmt: skip
from store import artifacts, attempts, checkpoints, fence, job_events, jobs, metrics, record, results, tries, verbs
from store.ends import Reason
from store.errors import AlreadyRecorded, NotFound
from store.keys import Principal, Role
from store.settings import settings
from store.states import CheckpointState, JobState
from store.tables import Checkpoint, Dataset, Metric, ResultValue
from tests.store.lab import Lab

R1 = Value(name="r@1", value=57.9, n=3783, ci_low=56.3, ci_high=59.5, pool="gap", random_init=9.8, chance=1.0)


def artifact(folder: Path, name: str, text: str = "x", kind: str = "table", **meta: Any) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    sha = f"{abs(hash(name + text)):064x}"
    return Artifact(name=name, kind=kind, media_type="text/plain", path=name, sha256=sha, bytes=len(text), meta=meta)


def test_a_line_that_is_sent_twice_is_stored_once(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    fence.beat(lab.session, lease, 0, 50)
    record.record(lab.session, lease, [Metrics(step=1, values={"loss": 2.0, "acc": None})])
    with pytest.raises(AlreadyRecorded):
        fence.beat(lab.session, lease, 0, 50)
    assert lab.session.scalar(select(func.count()).select_from(Metric)) == 2


def test_progress_is_shown_and_moves_the_etag_but_not_the_version(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    version, live = job.version, job.live
    told = Progress(phase="train", step=5, of=10, rate=1.5, eta_s=3.0)
    lab.tell(lease, Progress(phase="train", step=4, of=10), Metrics(step=5, values={"loss": 2.0}), told)
    attempt = tries.newest(lab.session, job.id)
    assert attempt is not None
    shown = {"phase": "train", "step": 5, "of": 10, "rate": 1.5, "unit": "it", "eta_s": 3.0}
    assert job.progress == attempt.progress == shown
    assert (job.version, job.live) == (version, live + 2)
    lab.tell(lease, Metrics(step=6, values={"loss": 1.0}))
    assert (job.progress, job.live) == (shown, live + 2)
    assert [curve["y"] for curve in metrics.series(lab.session, job.id)] == [[2.0, 1.0]]


def test_a_checkpoint_moves_the_place_to_resume_from(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease, 10)
    first = job.resume_checkpoint
    lab.save(job, lease, 20)
    assert job.resume_checkpoint != first
    newest = lab.session.get_one(Checkpoint, job.resume_checkpoint)
    folder = settings().attempt_folder(job.id, 1)
    assert (newest.step, newest.path) == (20, str(folder / "checkpoints/step-00000020/state.pt"))
    assert [event.type for event in job_events.after(lab.session, job.id)][-2:] == ["checkpoint", "checkpoint"]


def test_a_checkpoint_that_is_not_whole_is_never_resumed_from(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease, 10)
    good = job.resume_checkpoint
    lab.tell(lease, Saved(step=20, train_epoch=2, path="checkpoints/step-00000020/state.pt", sha256="0" * 64, bytes=5))
    assert job.resume_checkpoint == good
    states = lab.session.scalars(select(Checkpoint.state).order_by(Checkpoint.step)).all()
    assert states == [CheckpointState.ok, CheckpointState.bad]
    assert job_events.after(lab.session, job.id)[-1].data["code"] == "bad_checkpoint"


def test_a_broken_checkpoint_gives_way_to_the_one_before(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease, 10)
    first = job.resume_checkpoint
    lab.save(job, lease, 20)
    attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=True)
    again = lab.claim(job)
    work = attempts.adopt(lab.session, again, 1, 1, 1, "b")
    assert work.resume_checkpoint is not None
    earlier = checkpoints.mark_bad(lab.session, again, work.resume_checkpoint, "its hash is wrong")
    assert earlier is not None
    assert earlier.id == first == job.resume_checkpoint
    assert checkpoints.mark_bad(lab.session, again, earlier.id, "this one too") is None
    assert job.resume_checkpoint is None


def test_old_checkpoints_are_let_go_of_but_none_that_is_needed(lab: Lab) -> None:
    job = lab.submit(checkpoints={"keep": 2})
    lease = lab.run(job)
    lab.save(job, lease, 1)
    needed = job.resume_checkpoint
    lab.submit("retrieval", checkpoint={"id": str(needed)})
    for step in (2, 3, 4):
        lab.save(job, lease, step)
    Path(lab.session.scalars(select(Checkpoint.path).where(Checkpoint.step == 2)).one()).unlink()  # as the core does
    lab.save(job, lease, 5)
    states = {c.step: str(c.state) for c in checkpoints.of_job(lab.session, job.id)}
    assert states == {5: "ok", 4: "ok", 3: "deleting", 2: "deleting", 1: "ok"}
    due = dict(checkpoints.expire(lab.session))
    assert {folder.name for folder in due.values()} == {"step-00000002", "step-00000003"}
    for checkpoint in due:
        checkpoints.deleted(lab.session, checkpoint)
    assert checkpoints.expire(lab.session) == []
    assert [c.step for c in checkpoints.listed(lab.session, lab.principal, job.id)] == [5, 4, 1]


def test_passes_to_be_kept_and_the_best_stay_over_all_attempts(lab: Lab) -> None:
    """Ten steps are a pass. The second attempt goes on from step 40: the first one's step 60 is of another course."""
    job = lab.submit(checkpoints={"keep": 1, "keep_every": 3, "keep_best": 1}, optim={"epochs": 9})
    lease = lab.run(job)
    for step, loss in ((10, 5.0), (20, 1.0), (30, 3.0), (40, 3.0), (60, 2.0)):
        lab.save(job, lease, step, loss=loss)
    lab.finish(lease, Reason.supervisor_lost)
    again = lab.run(job)
    for step, loss in ((45, 0.0), (50, 2.0), (60, 2.0), (70, 2.0)):
        lab.save(job, again, step, loss=loss)
    ok = [(c.epoch, c.step) for c in checkpoints.of_job(lab.session, job.id) if c.state is CheckpointState.ok]
    assert ok == [(2, 70), (2, 60), (1, 30), (1, 20)]


def test_what_any_job_names_is_not_let_go_of_whatever_became_of_that_job(lab: Lab) -> None:
    job = lab.submit(checkpoints={"keep": 1, "keep_every": 0, "keep_best": 0})
    lease = lab.run(job)
    for step in (1, 2):
        lab.save(job, lease, step)
        if step == 1:
            named = lab.submit("retrieval", checkpoint={"id": str(job.resume_checkpoint)})
            verbs.cancel(lab.session, named.id, lab.principal)
    lab.save(job, lease, 3)
    assert {c.step: str(c.state) for c in checkpoints.of_job(lab.session, job.id)} == {3: "ok", 2: "deleting", 1: "ok"}


def test_a_full_disk_costs_the_oldest_that_nothing_names(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease, 1)
    lab.submit("retrieval", checkpoint={"id": str(job.resume_checkpoint)})
    for step in (2, 3):
        lab.save(job, lease, step)
    for _ in range(2):
        lab.tell(lease, Warned(code="disk_full", message="no room"))
        assert {c.step: str(c.state) for c in checkpoints.of_job(lab.session, job.id)} == {
            3: "ok", 2: "deleting", 1: "ok",
        }  # fmt: skip


def test_an_artifact_is_found_by_the_hash_of_its_bytes(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    told = artifact(settings().attempt_folder(job.id, 1), "table.csv")
    lab.tell(lease, told)
    assert artifacts.by_sha256(lab.session, told.sha256, lab.principal).name == "table.csv"
    with pytest.raises(NotFound):
        artifacts.by_sha256(lab.session, told.sha256, Principal("x", Role.admin, project="elsewhere"))
    Path(artifacts.of_job(lab.session, job.id)[0].path).unlink()
    with pytest.raises(NotFound):
        artifacts.by_sha256(lab.session, told.sha256, lab.principal)


@pytest.mark.parametrize("path", ["../../../secret", "/etc/passwd"])
def test_an_artifact_outside_of_its_job_is_left_out(lab: Lab, path: str) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.tell(lease, Artifact(name="a", kind="table", media_type="text/plain", path=path, sha256="0" * 64, bytes=1))
    assert artifacts.of_job(lab.session, job.id) == []
    assert job_events.after(lab.session, job.id)[-1].data["code"] == "artifact_outside"


def test_a_result_is_told_with_its_n_interval_and_lineage(lab: Lab) -> None:
    trained = lab.submit()
    lab.succeed(trained)
    job = lab.submit("retrieval", checkpoint={"job": str(trained.id)})
    assert results.view(lab.session, job.id, lab.principal)["final"] is False
    lease = lab.run(job)
    lab.tell(lease, Started(spec={}, versions={"torch": "2.13", "git_sha": "abc"}, world_size=1))
    lab.tell(lease, Result(values=(R1, R1.model_copy(update={"pool": "max222"})), protocol={"clips": 10}))
    assert results.view(lab.session, job.id, lab.principal)["values"][0]["partial"] is True
    lab.tell(lease, artifact(settings().attempt_folder(job.id, 1), "ranks.csv"), Ended(outcome="finished"))
    lab.finish(lease)
    told = results.view(lab.session, job.id, lab.principal)
    assert (told["state"], told["final"], told["protocol"]) == ("succeeded", True, {"clips": 10})
    assert told["values"][0] == {
        "name": "r@1", "value": 57.9, "unit": "%", "n": 3783, "ci95": [56.3, 59.5], "pool": "gap",
        "random_init": 9.8, "chance": 1.0,
    }  # fmt: skip
    assert told["lineage"]["pretrain_job"] == str(trained.id)
    assert told["lineage"]["checkpoint_sha256"]
    assert told["lineage"]["dataset"]["name"] == "moving@1"
    assert told["lineage"]["versions"]["torch"] == "2.13"
    assert told["artifacts"][0]["name"] == "ranks.csv"
    json.dumps(told, default=str)
    rows = results.page(lab.session, lab.principal, {"kind": ["retrieval"]})
    assert [(row["job"], row["pool"], row["value"]) for row in rows] == [
        (str(job.id), "gap", 57.9), (str(job.id), "max222", 57.9),
    ]  # fmt: skip


def test_an_evaluation_that_starts_over_tells_its_result_anew(lab: Lab) -> None:
    job = lab.submit("retrieval")
    lease = lab.run(job)
    lab.tell(lease, Result(values=(R1,), protocol={}))
    lab.tell(lease, Result(values=(R1.model_copy(update={"value": 60.0}),), protocol={}))
    assert [value.value for value in lab.session.scalars(select(ResultValue))] == [60.0]


def test_two_values_with_equal_labels_do_not_go_in(lab: Lab) -> None:
    job = lab.submit("retrieval")
    lease = lab.run(job)
    lab.tell(lease, Result(values=(R1, R1.model_copy(update={"value": 1.0})), protocol={}))
    (value,) = lab.session.scalars(select(ResultValue)).all()
    assert value.value == 57.9
    assert job_events.after(lab.session, job.id)[-1].data["code"] == "value_told_twice"
    columns = {c.name: getattr(value, c.name) for c in ResultValue.__table__.columns if c.name != "id"}
    with pytest.raises(IntegrityError, match="uq_result_values_labels"), lab.session.begin_nested():
        lab.session.execute(insert(ResultValue).values(columns))


def test_each_way_to_have_no_result_says_which(lab: Lab) -> None:
    failed, cancelled = lab.submit("retrieval"), lab.submit("retrieval")
    lab.finish(lab.run(failed), Reason.data_error, detail="broken", hint="repack", log_tail="Traceback")
    told = results.view(lab.session, failed.id, lab.principal)
    assert told["error"] == {"reason": "data_error", "detail": "broken", "hint": "repack", "log_tail": "Traceback"}
    verbs.cancel(lab.session, cancelled.id, lab.principal, why="no longer needed")
    told = results.view(lab.session, cancelled.id, lab.principal)
    assert (told["cancelled"]["by"], told["cancelled"]["why"]) == ("admin", "no longer needed")
    again = jobs.retry(lab.session, failed.id, lab.principal)
    assert results.view(lab.session, failed.id, lab.principal)["retried_by"] == str(again.id)
    waiting = results.view(lab.session, again.id, lab.principal)
    assert (waiting["final"], waiting["state"]) == (False, "queued")
    with pytest.raises(NotFound):
        results.view(lab.session, again.id, Principal("x", Role.admin, project="elsewhere"))


def test_attention_maps_are_grouped_by_clip_modality_and_map(lab: Lab) -> None:
    trained = lab.submit()
    job = lab.submit("attention", checkpoint={"job": str(trained.id)})
    lab.succeed(trained)
    lease = lab.run(lab.again(job))
    folder = settings().attempt_folder(job.id, 1)
    for kind in ("attention_raw", "attention_png"):
        for map in ("s", "s_hat"):
            meta = {"clip": "a/b", "modality": "video", "map": map, "shape": [4, 8, 8]}
            lab.tell(lease, artifact(folder, f"{kind}-{map}", kind=kind, **meta))
    lab.tell(lease, artifact(folder, "scores.csv"))
    maps = results.attention(lab.session, job.id, lab.principal)
    assert [(one["map"], sorted(one["files"]), one["shape"]) for one in maps] == [
        ("s", ["png", "raw"], [4, 8, 8]), ("s_hat", ["png", "raw"], [4, 8, 8]),
    ]  # fmt: skip
    assert len(results.attention(lab.session, job.id, lab.principal, map="s", modality="video")) == 1
    assert results.attention(lab.session, job.id, lab.principal, clip="c") == []


def test_a_pack_makes_a_dataset_and_warnings_are_kept(lab: Lab) -> None:
    job = lab.submit("pack", dataset="fresh")
    work = attempts.adopt(lab.session, lab.claim(job), 1, 1, 1, "b")
    assert work.inputs == {"output": {"path": str(settings().datasets_dir / str(job.id)), "sha256": None}}
    attempts.ready(lab.session, work.lease)
    made = DatasetMade(path="/d", manifest_sha256="1" * 64, clips=8, quarantined=1, hours=0.1, bytes=10, media="video",
                       with_audio=8, labels={"class": 2}, counts={"train": 6})  # fmt: skip
    lab.tell(
        work.lease, made, Warned(code="quarantined", message="1 file"), Replaced(index=1, by=2, clip="a", reason="r")
    )
    lab.finish(work.lease)
    assert job.state is JobState.succeeded
    dataset = lab.session.scalars(select(Dataset).where(Dataset.job_id == job.id)).one()
    assert (dataset.reference, dataset.project, dataset.counts) == ("fresh@1", "default", {"train": 6})
    assert results.view(lab.session, job.id, lab.principal)["lineage"]["made_dataset"]["name"] == "fresh@1"
    assert "warning" in [event.type for event in job_events.after(lab.session, job.id)]
    assert tries.of_job(lab.session, job.id)[0]["replacements"] == 1


def test_steps_repeated_after_a_restart_come_from_the_newest_epoch(lab: Lab) -> None:
    job = lab.submit()
    first = lab.run(job)
    for step in range(1, 9):
        lab.tell(first, Metrics(step=step, train_epoch=step / 4, values={"loss": 100.0 + step}))
    lab.save(job, first, 4)
    attempts.give_up(lab.session, first.attempt, Reason.worker_lost, release=True)
    second = lab.run(job)
    lab.tell(second, Started(spec={}, versions={}, world_size=2, resumed_step=4))
    for step in (5, 6):
        lab.tell(second, Metrics(step=step, values={"loss": 200.0 + step}))
    (curve,) = metrics.series(lab.session, job.id)
    assert list(zip(curve["x"], curve["y"], strict=True)) == [
        (1, 101.0), (2, 102.0), (3, 103.0), (4, 104.0), (5, 205.0), (6, 206.0),
    ]  # fmt: skip
    assert metrics.names(lab.session, job.id) == ["loss"]
    assert [row.step for row in metrics.rows(lab.session, job.id, ["loss"])] == [1, 2, 3, 4, 5, 6]
    behind = metrics.after(lab.session, job.id, 1, 7)
    assert [(one["epoch"], one["step"], one["values"]) for one in behind] == [
        (1, 8, {"loss": 108.0}), (2, 5, {"loss": 205.0}), (2, 6, {"loss": 206.0}),
    ]  # fmt: skip
