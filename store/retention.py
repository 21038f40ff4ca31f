"""Logs and fine curves of jobs that ended long ago: removed, thinned, and noted on the job (QUEUE 5).

Results, events, artifacts, checkpoints, the tail of a failed job's log and a curve's shape stay.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from store import audit, database, log_files, metrics
from store.keys import SYSTEM
from store.settings import settings
from store.states import FINAL
from store.tables import Job

BATCH = 20  # jobs in a pass, each in a transaction of its own


class Rule(NamedTuple):
    """What becomes of the jobs that ended so long ago, and where that is noted."""

    what: str  # in figures; the trail's action is retention.<what>
    noted: InstrumentedAttribute[Any]
    days: Callable[[], float]  # 0: never
    apply: Callable[[Session, Job], dict[str, int]]


def run_pass(batch: int = BATCH) -> dict[str, int]:
    """How many jobs each rule was applied to: at most `batch`, those that ended first."""
    return {rule.what: done for rule in RULES if (done := sum(_next(rule) for _ in range(batch)))}


def due(rule: Rule) -> ColumnElement[bool]:
    """Which jobs a rule is still to be applied to."""
    ended = Job.ended_at < func.now() - timedelta(days=rule.days())
    return and_(Job.state.in_(FINAL), rule.noted.is_(None), ended)


def waiting(session: Session) -> dict[str, int]:
    """How many jobs wait for each rule."""
    counts = {rule.what: select(func.count()).select_from(Job).where(due(rule)) for rule in RULES if rule.days()}
    return {what: session.scalar(count) or 0 for what, count in counts.items()}


def _next(rule: Rule) -> bool:
    if not rule.days():
        return False
    return database.transact(lambda session: _apply(session, rule))


def _apply(session: Session, rule: Rule) -> bool:
    query = select(Job).where(due(rule)).order_by(Job.ended_at).limit(1)
    job = session.scalar(query.with_for_update(skip_locked=True, key_share=True))
    if job is None:
        return False
    done = rule.apply(session, job)
    setattr(job, rule.noted.key, func.now())
    if any(done.values()):
        audit.write(session, SYSTEM, f"retention.{rule.what}", str(job.id), after=done)
    return True


def _remove_logs(session: Session, job: Job) -> dict[str, int]:
    files = log_files.of_job(settings().job_folder(job.id))
    size = sum(file.stat().st_size for file in files)
    for file in files:
        file.unlink(missing_ok=True)
    return {"files": len(files), "bytes": size}


def _thin_curves(session: Session, job: Job) -> dict[str, int]:
    return {"points": metrics.thin_out(session, job.id)}


RULES = (
    Rule("logs", Job.logs_removed_at, lambda: settings().keep_logs_days, _remove_logs),
    Rule("curves", Job.curves_thinned_at, lambda: settings().keep_curves_days, _thin_curves),
)
