"""Saved states: registered when whole, resumed from when good, removed when old."""

from math import inf
from pathlib import Path
from uuid import UUID

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.orm import Session

from cmac_core.events import Saved
from cmac_core.retention import outdated
from cmac_core.specs.method import Checkpoints
from store import audit, fence, job_events, jobs, moves
from store.errors import IllegalMove, InUse, NotFound
from store.fence import Lease
from store.keys import Principal
from store.states import FINAL, CheckpointState
from store.tables import Attempt, Checkpoint, Job


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


def readers(session: Session, checkpoint: Checkpoint, principal: Principal, limit: int = 50) -> list[Job]:
    """Jobs that were given it, by its id or as what its job left, newest first."""
    given = Attempt.inputs["checkpoint"]["id"].as_string() == str(checkpoint.id)
    by_job = select(Attempt.id).where(Attempt.job_id == Job.id, given).exists()
    reads = or_(Job.checkpoint_id == checkpoint.id, and_(Job.checkpoint_job == checkpoint.job_id, by_job))
    query = select(Job).where(reads, Job.deleted_at.is_(None))
    if principal.project is not None:
        query = query.where(Job.project == principal.project)
    return list(session.scalars(query.order_by(Job.submitted_at.desc(), Job.id).limit(limit)))


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
        metrics=saved.metrics or None,
        state=CheckpointState.ok if whole else CheckpointState.bad,
    )
    session.add(checkpoint)
    session.flush()
    if whole and saved.kind == "full":
        job.resume_checkpoint = checkpoint.id
        _let_go_of_older(session, job)
    return checkpoint


def _let_go_of_older(session: Session, job: Job) -> None:
    """Those that the job's `checkpoints` do not keep are to be removed, unless something names them."""
    plan = Checkpoints.model_validate(job.spec.get("checkpoints", {"keep": 0}))
    newest_first = [one for one in of_job(session, job.id) if (one.kind, one.state) == ("full", CheckpointState.ok)]
    current, overtaken = _by_course(newest_first)
    passes = job.spec.get("optim", {}).get("epochs", inf)
    old = [*overtaken, *outdated(current, plan, passes)] if plan.keep else []
    _remove(session, {one.id for one in old})


def _by_course(newest_first: list[Checkpoint]) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Those on the way to the newest one, and those of an earlier attempt from behind where a later one went on."""
    current: list[Checkpoint] = []
    for one in newest_first:
        if not current or one.step < current[-1].step:
            current.append(one)
    return current, [one for one in newest_first if one not in current]


def make_room(session: Session, job: Job) -> None:
    """The disk of a locked job is full: its oldest checkpoint that nothing names goes, unless the job keeps all."""
    if job.spec.get("checkpoints", {}).get("keep", 0) == 0:
        return
    good = [one for one in of_job(session, job.id) if (one.kind, one.state) == ("full", CheckpointState.ok)]
    for one in reversed(good[1:]):
        if _remove(session, {one.id}):
            break


def _remove(session: Session, ids: set[UUID]) -> int:
    """Mark those of these that no job, of whatever state, names as its input or as where it goes on.

    Whoever names one holds its row (`made.lock_named`) until their job is there: those are left for the next time.
    """
    if not ids:
        return 0
    free = select(Checkpoint).where(Checkpoint.id.in_(ids), Checkpoint.pinned_by.is_(None))
    free = free.order_by(Checkpoint.id).with_for_update(skip_locked=True)
    locked = session.scalars(free.execution_options(populate_existing=True)).all()
    naming = select(Job.checkpoint_id, Job.resume_checkpoint)
    naming = naming.where(or_(Job.checkpoint_id.in_(ids), Job.resume_checkpoint.in_(ids)))
    named = {one for row in session.execute(naming) for one in row}
    going = [one for one in locked if one.id not in named]
    for checkpoint in going:
        checkpoint.state = CheckpointState.deleting
    return len(going)


def pin(session: Session, checkpoint_id: UUID, principal: Principal, *, pinned: bool) -> Checkpoint:
    """It stays whatever its training's `checkpoints` say. Raises NotFound, Forbidden, IllegalMove (it is not there)."""
    checkpoint = _lock_own(session, checkpoint_id, principal)
    if pinned and checkpoint.state is not CheckpointState.ok:
        raise IllegalMove(f"checkpoint {checkpoint_id} is {checkpoint.state}", state=str(checkpoint.state), allowed=[])
    wanted = principal.user if pinned else None
    if (checkpoint.pinned_by is None) != (wanted is None):
        checkpoint.pinned_by = wanted
        audit.write(session, principal, "checkpoint.pin" if pinned else "checkpoint.unpin", str(checkpoint_id))
    return checkpoint


def remove(session: Session, checkpoint_id: UUID, principal: Principal) -> Checkpoint:
    """Its files go in a moment, its row says so. Raises NotFound, Forbidden, InUse (`by`: a job, or who pinned it)."""
    checkpoint = _lock_own(session, checkpoint_id, principal)
    if checkpoint.state in (CheckpointState.deleting, CheckpointState.deleted):
        return checkpoint
    if checkpoint.pinned_by is not None:
        raise InUse(f"checkpoint {checkpoint_id} is pinned by {checkpoint.pinned_by}", by=checkpoint.pinned_by)
    maker = session.get_one(Job, checkpoint.job_id)
    if maker.state not in FINAL:
        raise InUse(f"job {maker.id} is not finished and may go on from it", by=str(maker.id))
    if (user := _user_of(session, checkpoint, maker)) is not None:
        raise InUse(f"job {user} names checkpoint {checkpoint_id}", by=str(user))
    checkpoint.state = CheckpointState.deleting
    if maker.resume_checkpoint == checkpoint.id:
        next_one = last_good(session, maker.id)
        maker.resume_checkpoint = next_one.id if next_one else None
    audit.write(session, principal, "checkpoint.remove", str(checkpoint_id))
    return checkpoint


def _lock_own(session: Session, checkpoint_id: UUID, principal: Principal) -> Checkpoint:
    owner = moves.lock(session, get(session, checkpoint_id, principal).job_id)  # first, as its supervisor does
    jobs.may_change(owner, principal)
    query = select(Checkpoint).where(Checkpoint.id == checkpoint_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _user_of(session: Session, checkpoint: Checkpoint, maker: Job) -> UUID | None:
    """Another job that reads it, by its id or as what its maker left."""
    reads = or_(Job.checkpoint_id == checkpoint.id, Job.resume_checkpoint == checkpoint.id)
    if checkpoint.id == maker.resume_checkpoint or checkpoint.kind == "weights":
        reads = or_(reads, Job.checkpoint_job == maker.id)
    return session.scalar(select(Job.id).where(reads, Job.id != maker.id).limit(1))


def mark_bad(session: Session, lease: Lease, checkpoint_id: UUID, detail: str) -> Checkpoint | None:
    """Its hash is wrong or its file is gone: never used again; the one to try now, or None. Raises Fenced."""
    fence.hold(session, lease)
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


def expiring() -> Select[UUID, str]:
    """Ids and paths of those that are to be removed."""
    return select(Checkpoint.id, Checkpoint.path).where(Checkpoint.state == CheckpointState.deleting)


def expire(session: Session, limit: int = 100) -> list[tuple[UUID, Path]]:
    """Rows marked `deleting` and their folders; the caller removes the folder, then calls `deleted`."""
    rows = session.execute(expiring().limit(limit))
    return [(checkpoint, Path(path).parent) for checkpoint, path in rows]


def deleted(session: Session, checkpoint_id: UUID) -> None:
    """The folder is gone."""
    gone = update(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.state == CheckpointState.deleting)
    session.execute(gone.values(state=CheckpointState.deleted))
