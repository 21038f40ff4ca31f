"""Saved states: registered when whole, resumed from when good, removed when old."""

from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cmac_core.events import Saved
from store import attempts, job_events, moves
from store.attempts import Lease
from store.errors import NotFound
from store.keys import Principal
from store.states import FINAL, CheckpointState
from store.tables import Checkpoint, Job


def of_job(session: Session, job_id: UUID) -> list[Checkpoint]:
    """Newest first, also bad and deleted ones."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    return list(session.scalars(query.order_by(Checkpoint.epoch.desc(), Checkpoint.step.desc())))


def listed(session: Session, principal: Principal, job_id: UUID | None = None, limit: int = 200) -> list[Checkpoint]:
    """Those that can be used, of one job or of all, newest first."""
    query = select(Checkpoint).where(Checkpoint.state == CheckpointState.ok)
    if job_id is not None:
        query = query.where(Checkpoint.job_id == job_id)
    if principal.project is not None:
        query = query.join(Job, Job.id == Checkpoint.job_id).where(Job.project == principal.project)
    return list(session.scalars(query.order_by(Checkpoint.created_at.desc(), Checkpoint.step.desc()).limit(limit)))


def get(session: Session, checkpoint_id: UUID, principal: Principal) -> Checkpoint:
    """Raises NotFound."""
    query = select(Checkpoint).where(Checkpoint.id == checkpoint_id)
    if principal.project is not None:
        query = query.join(Job, Job.id == Checkpoint.job_id).where(Job.project == principal.project)
    checkpoint = session.scalar(query)
    if checkpoint is None:
        raise NotFound(f"no checkpoint {checkpoint_id}")
    return checkpoint


def last_good(session: Session, job_id: UUID) -> Checkpoint | None:
    """The newest full one in state ok: of the newest epoch that has one, the latest step."""
    good = select(Checkpoint).where(
        Checkpoint.job_id == job_id, Checkpoint.kind == "full", Checkpoint.state == CheckpointState.ok
    )
    return session.scalars(good.order_by(Checkpoint.epoch.desc(), Checkpoint.step.desc()).limit(1)).first()


def save(session: Session, lease: Lease, job: Job, saved: Saved, folder: Path) -> Checkpoint:
    """Register what a locked job saved and go on from there from now on; older ones are let go of.

    A file that is not there in its full length is registered as bad and never used. `folder` is the attempt's:
    a path that leads out of it is our own mistake.
    """
    path = (folder / saved.path).resolve()
    assert path.is_relative_to(folder.resolve()), f"a checkpoint outside of its attempt: {saved.path}"
    whole = path.is_file() and path.stat().st_size == saved.bytes
    checkpoint = Checkpoint(
        job_id=job.id,
        attempt_id=lease.attempt,
        epoch=lease.epoch,
        step=saved.step,
        train_epoch=saved.train_epoch,
        kind=saved.kind,
        path=str(path),
        sha256=saved.sha256,
        bytes=saved.bytes,
        state=CheckpointState.ok if whole else CheckpointState.bad,
    )
    session.add(checkpoint)
    session.flush()
    if whole and saved.kind == "full":
        job.resume_checkpoint = checkpoint.id
        _let_go_of_older(session, job)
    return checkpoint


def _let_go_of_older(session: Session, job: Job) -> None:
    """Beyond the newest `checkpoints.keep`: what the core removed is deleted, the rest is to be."""
    keep = job.spec.get("checkpoints", {}).get("keep", 0)
    if keep == 0:
        return
    named = select(Job.checkpoint_id, Job.resume_checkpoint).where(Job.state.not_in(FINAL))
    old = select(Checkpoint).where(
        Checkpoint.job_id == job.id,
        Checkpoint.kind == "full",
        Checkpoint.state == CheckpointState.ok,
        Checkpoint.pinned_by.is_(None),
    )
    old = old.order_by(Checkpoint.epoch.desc(), Checkpoint.step.desc()).offset(keep)
    in_use = {job.resume_checkpoint, *(one for row in session.execute(named) for one in row)}
    for checkpoint in session.scalars(old):
        if not Path(checkpoint.path).exists():
            checkpoint.state = CheckpointState.deleted
        elif checkpoint.id not in in_use:
            checkpoint.state = CheckpointState.deleting


def mark_bad(session: Session, lease: Lease, checkpoint_id: UUID, detail: str) -> Checkpoint | None:
    """Its hash is wrong or its file is gone: never used again; the one to try now, or None. Raises Fenced."""
    attempts.hold(session, lease)
    owner = session.scalar(select(Checkpoint.job_id).where(Checkpoint.id == checkpoint_id))
    assert owner is not None
    job = moves.lock(session, owner)
    session.execute(update(Checkpoint).where(Checkpoint.id == checkpoint_id).values(state=CheckpointState.bad))
    next_one = last_good(session, job.id)
    if job.resume_checkpoint == checkpoint_id:
        job.resume_checkpoint = next_one.id if next_one else None
    data = {"code": "bad_checkpoint", "message": detail, "checkpoint": str(checkpoint_id)}
    job_events.add(session, job, "warning", "supervisor", data)
    return next_one


def expire(session: Session, limit: int = 100) -> list[tuple[UUID, Path]]:
    """Rows marked `deleting` and their folders; the caller removes the folder, then calls `deleted`."""
    rows = session.execute(
        select(Checkpoint.id, Checkpoint.path).where(Checkpoint.state == CheckpointState.deleting).limit(limit)
    )
    return [(checkpoint, Path(path).parent) for checkpoint, path in rows]


def deleted(session: Session, checkpoint_id: UUID) -> None:
    """The folder is gone."""
    gone = update(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.state == CheckpointState.deleting)
    session.execute(gone.values(state=CheckpointState.deleted))
