"""The end of an attempt: its row, its job's next state and budgets, its devices, in the caller's transaction."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from store import moves, notices, walltime
from store.ends import Facts, Reason, decide
from store.settings import settings
from store.states import AttemptState, CheckpointState, JobState
from store.tables import Attempt, Checkpoint, Dataset, DeviceLease, Job, Result

LONGEST_TAIL = 8000  # characters of the log kept with a failure


class Ending(NamedTuple):
    reason: Reason
    detail: str
    hint: str


def end(
    session: Session, attempt: Attempt, ending: Ending, *, exit_code: int | None, log_tail: str, release: bool
) -> Job:
    """End a locked attempt whose parts are all over, and move its job. `release`: its devices are seen empty."""
    job = moves.lock(session, attempt.job_id)
    if ending.reason is Reason.ok and (lack := _lacks(session, job)):
        ending = Ending(Reason.user_error, f"It ended well, but {lack}.", "This is an error in the code of this kind.")
    # Not now(), when the transaction began: it may have waited for a write of this attempt, which then looks late.
    attempt.state, attempt.exited_at = AttemptState.exited, func.clock_timestamp()
    attempt.reason, attempt.exit_code = ending.reason, exit_code
    attempt.detail, attempt.hint = ending.detail or None, ending.hint or None
    session.flush()
    walltime.charge(session, job, attempt, ending.reason)
    _move_on(session, job, attempt, ending, log_tail)
    if release:
        release_devices(session, attempt.id)
    return job


def release_devices(session: Session, attempt_id: UUID, *only: ColumnElement[bool]) -> int:
    """End the live leases of an attempt (`only` some of them) and wake the scheduler; how many there were."""
    live = update(DeviceLease).where(DeviceLease.attempt_id == attempt_id, DeviceLease.released_at.is_(None), *only)
    released = len(session.scalars(live.values(released_at=func.clock_timestamp()).returning(DeviceLease.id)).all())
    if released:
        notices.notify(session, notices.QUEUE)
    return released


def _move_on(session: Session, job: Job, attempt: Attempt, ending: Ending, log_tail: str) -> None:
    facts = Facts(
        stop_for=job.stop_for,
        saved=_has_saved(session, attempt),
        max_restarts=job.max_restarts,
        user_restarts=job.user_restarts,
        infra_restarts=job.infra_restarts,
        infra_without_progress=job.infra_without_progress,
        rejections=job.rejections,
        out_of_time=walltime.is_over(job),
    )
    decision = decide(ending.reason, facts)
    job.user_restarts, job.infra_restarts = decision.user_restarts, decision.infra_restarts
    job.infra_without_progress, job.rejections = decision.infra_without_progress, decision.rejections
    # now() is a date, so the wait is counted by the database's clock alone.
    wait = settings().times.scaled(decision.wait_s)
    job.not_before = func.now() + timedelta(seconds=wait) if wait else None
    job.log_tail = log_tail[-LONGEST_TAIL:] if decision.to is JobState.failed and log_tail else None
    if decision.to is JobState.succeeded and session.get(Result, job.id) is None:
        session.add(Result(job_id=job.id, kind=job.kind, epoch=attempt.epoch, protocol={}, lineage={}))
    detail = " ".join(text for text in (decision.detail, ending.detail) if text)
    hint = ending.hint or (walltime.HINT if decision.reason == Reason.walltime else "")
    actor, more = "supervisor", {"attempt_reason": str(ending.reason), "wait_s": wait}
    moves.move(session, job, decision.to, actor, reason=decision.reason, detail=detail, hint=hint, more=more)


def _has_saved(session: Session, attempt: Attempt) -> bool:
    mine = select(Checkpoint.id).where(Checkpoint.attempt_id == attempt.id, Checkpoint.state != CheckpointState.bad)
    return session.scalars(mine.limit(1)).first() is not None


def _lacks(session: Session, job: Job) -> str | None:
    """What a job that says it has succeeded should have left and has not."""
    if job.kind in ("pretrain", "import"):
        good = select(Checkpoint.id).where(Checkpoint.job_id == job.id, Checkpoint.state == CheckpointState.ok)
        return None if session.scalars(good.limit(1)).first() else "it saved no checkpoint"
    if job.kind == "pack" and not job.spec.get("shard"):  # a shard leaves its numbers alone
        made = session.scalar(select(Dataset.id).where(Dataset.job_id == job.id))
        return None if made else "it made no dataset"
    return None if session.get(Result, job.id) else "it told no result"
