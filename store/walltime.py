"""How long a job may run in all: what it has used of that, what is left, and what comes when nothing is (QUEUE 6)."""

from typing import Any

from sqlalchemy import ColumnElement, Double, cast, func, select
from sqlalchemy.orm import Session

from cmac_core.specs.problems import FieldProblem
from store.ends import ENDS, Budget, Reason
from store.errors import InvalidSpec
from store.tables import Attempt, Checkpoint, Job

HINT = "`cmac retry JOB --walltime 48h` goes on from its last checkpoint."

SAVED_AT = select(func.max(Checkpoint.created_at)).where(Checkpoint.attempt_id == Attempt.id).scalar_subquery()


def check(walltime_s: float | None, grace_s: float) -> None:
    """Raises InvalidSpec when the time to save in would be all that there is."""
    if walltime_s is not None and walltime_s <= grace_s:
        message = f"must be more than grace_s ({grace_s:g}), the time to save in"
        raise InvalidSpec([FieldProblem("/walltime_s", message, walltime_s)])


def left() -> ColumnElement[float | None]:
    """Seconds that a job with a living attempt may still run, by the database's clock; null without a limit."""
    return cast(Job.walltime_s - Job.used_s - func.coalesce(_seconds(func.now()), 0), Double)


def charge(session: Session, job: Job, attempt: Attempt, reason: Reason) -> None:
    """Count what an attempt that has ended ran; what a fault of a machine has made it lose is given back."""
    lost = ENDS[reason].budget is Budget.infra
    ran = _seconds(func.coalesce(SAVED_AT, Attempt.running_at) if lost else func.now())
    seconds = session.scalar(select(cast(ran, Double)).where(Attempt.id == attempt.id))
    job.used_s += max(0.0, seconds or 0.0)  # none of it running: it had not got as far


def is_over(job: Job) -> bool:
    """Whether nothing is left for another attempt."""
    return job.walltime_s is not None and job.used_s >= job.walltime_s


def _seconds(until: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", until - Attempt.running_at)
