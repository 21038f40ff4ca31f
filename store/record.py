"""Events of the core become rows, in the transaction that the fence opened."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cmac_core import events
from cmac_core.events import AnyEvent
from store import checkpoints, datasets, job_events, metrics, moves, notices
from store.ends import Reason
from store.fence import Lease
from store.metrics import Point
from store.settings import settings
from store.states import CheckpointState
from store.tables import LABELS, Artifact, Attempt, Job, Result, ResultValue

ACTOR = "run"
PLAIN = (events.Metrics, events.Progress)  # what a run tells of while all is well


def record(session: Session, lease: Lease, events: Sequence[AnyEvent]) -> None:
    """Store what these events tell: metrics, checkpoints, artifacts, result, dataset, progress, warnings.

    Call `attempts.beat` first in the same transaction: it holds the fence and moves the offset, which makes
    the ingest exactly once.
    """
    if not events:
        return
    if all(isinstance(event, PLAIN) for event in events):
        _go_on(session, lease, events)
        return
    lock = {"key_share": True}
    attempt = session.get_one(Attempt, lease.attempt, with_for_update=lock, populate_existing=True)
    job = moves.lock(session, attempt.job_id)
    metrics.add(session, job.id, lease.epoch, _points(events))
    for event in events:
        _take(session, lease, attempt, job, event)
    session.flush()
    notices.notify(session, notices.JOBS, str(job.id))


# In one statement, which locks the attempt before its job: a run tells of nothing else for hours, every two seconds.
_GO_ON = text(
    """
    WITH tried AS (
        UPDATE attempts SET progress = coalesce(CAST(:progress AS jsonb), progress)
         WHERE id = :attempt RETURNING job_id),
    told AS (
        UPDATE jobs SET progress = coalesce(CAST(:progress AS jsonb), jobs.progress), live = live + :times
          FROM tried WHERE jobs.id = tried.job_id
     RETURNING jobs.id)
    SELECT id, pg_notify(:channel, CAST(id AS text)) FROM told
    """
)


def _go_on(session: Session, lease: Lease, told: Sequence[AnyEvent]) -> None:
    """Store progress and points alone."""
    progress = [event for event in told if isinstance(event, events.Progress)]
    newest = json.dumps(progress[-1].model_dump(exclude={"type"})) if progress else None
    values = {"attempt": lease.attempt, "progress": newest, "times": len(progress), "channel": notices.JOBS}
    job = session.execute(_GO_ON, values).one().id
    metrics.add(session, job, lease.epoch, _points(told))


def _points(told: Sequence[AnyEvent]) -> list[Point]:
    return [
        Point(name, event.step, value, event.train_epoch)
        for event in told
        if isinstance(event, events.Metrics)
        for name, value in event.values.items()
    ]


def _take(session: Session, lease: Lease, attempt: Attempt, job: Job, event: AnyEvent) -> None:
    match event:
        case events.Metrics():
            pass  # all of them at once, above
        case events.Progress():
            job.progress = attempt.progress = event.model_dump(exclude={"type"})
            job.live += 1
        case events.Started():
            attempt.versions, attempt.world_size = dict(event.versions), event.world_size
            attempt.resume_step = event.resumed_step
        case events.Saved():
            _take_checkpoint(session, lease, job, event)
        case events.Artifact():
            _take_artifact(session, lease, job, event)
        case events.Result():
            _take_result(session, lease, job, event)
        case events.DatasetMade():
            dataset = datasets.register(session, job, event)
            data = {"name": dataset.reference, "kind": "dataset", "id": str(dataset.id)}
            job_events.add(session, job, "artifact", ACTOR, data)
        case events.Warned():
            _warn(session, job, event.code, event.message)
            if event.code == Reason.disk_full:
                checkpoints.make_room(session, job)
        case events.Replaced():
            attempt.replacements += 1
        case events.Ended():
            attempt.ended = event.model_dump(exclude={"type"})
            if event.reason == Reason.disk_full:
                checkpoints.make_room(session, job)
        case _:
            assert_never(event)


def _take_checkpoint(session: Session, lease: Lease, job: Job, event: events.Saved) -> None:
    folder = settings().attempt_folder(job.id, lease.epoch)
    checkpoint = checkpoints.save(session, lease, job, event, folder)
    if checkpoint.state is CheckpointState.bad:
        _warn(session, job, "bad_checkpoint", f"the checkpoint of step {event.step} is not on disk in its full length")
        return
    data = {"id": str(checkpoint.id), "step": event.step, "train_epoch": event.train_epoch, "kind": event.kind}
    job_events.add(session, job, "checkpoint", ACTOR, data)


def _take_artifact(session: Session, lease: Lease, job: Job, event: events.Artifact) -> None:
    folder = settings().attempt_folder(job.id, lease.epoch)
    path = (folder / event.path).resolve()
    if not _may_be_served(path, folder, job):
        _warn(session, job, "artifact_outside", f"{event.name} lies outside of the folders of its job and is left out")
        return
    values = event.model_dump(exclude={"type", "path"}) | {"path": str(path), "attempt_id": lease.attempt}
    new = insert(Artifact).values(job_id=job.id, epoch=lease.epoch, **values)
    session.execute(new.on_conflict_do_update(index_elements=["job_id", "epoch", "name"], set_=values))
    data = {"name": event.name, "kind": event.kind, "media_type": event.media_type, "sha256": event.sha256}
    job_events.add(session, job, "artifact", ACTOR, data)


def _may_be_served(path: Path, folder: Path, job: Job) -> bool:
    output = settings().datasets_dir / str(job.id)
    return path.is_relative_to(folder.resolve()) or path.is_relative_to(output.resolve())


def _take_result(session: Session, lease: Lease, job: Job, event: events.Result) -> None:
    """The newest word counts: an evaluation that was restarted tells it all again."""
    session.execute(delete(Result).where(Result.job_id == job.id))
    lineage = dict(event.lineage)
    session.add(Result(job_id=job.id, kind=job.kind, epoch=lease.epoch, protocol=event.protocol, lineage=lineage))
    session.flush()
    told: set[tuple[object, ...]] = set()
    for place, value in enumerate(event.values):
        labels = (value.name, *(getattr(value, label) for label in LABELS))
        if labels in told:
            _warn(session, job, "value_told_twice", f"{value.name} with equal labels: the first one is kept")
            continue
        told.add(labels)
        session.add(ResultValue(job_id=job.id, position=place, **value.model_dump()))


def _warn(session: Session, job: Job, code: str, message: str) -> None:
    job_events.add(session, job, "warning", ACTOR, {"code": code, "message": message})
