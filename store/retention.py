"""Logs, events and fine curves of jobs that ended long ago, and files of deleted jobs: removed, and noted (QUEUE 5).

Results, warnings, artifacts, checkpoints, the tail of a failed job's log and a curve's shape stay.
"""

import shutil
from collections.abc import Callable
from datetime import timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, false, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from store import audit, database, job_events, log_files, metrics
from store.keys import SYSTEM
from store.settings import settings
from store.states import FINAL
from store.tables import Job, JobEdge

BATCH = 20  # jobs in a pass, each in a transaction of its own


class Rule(NamedTuple):
    """What becomes of jobs that are over, when, and where that is noted."""

    what: str  # in figures; the trail's action is retention.<what>
    noted: InstrumentedAttribute[Any]
    when: Callable[[], ColumnElement[bool]]
    apply: Callable[[Session, Job], dict[str, int]]


def run_pass(batch: int = BATCH) -> dict[str, int]:
    """How many jobs each rule was applied to: at most `batch`, those that ended first."""
    found = {rule.what: sum(takewhile(bool, (_next(rule) for _ in range(batch)))) for rule in RULES}
    return {what: done for what, done in found.items() if done}


def due(rule: Rule) -> ColumnElement[bool]:
    """Which jobs a rule is still to be applied to."""
    return and_(Job.state.in_(FINAL), rule.noted.is_(None), rule.when())


def waiting(session: Session) -> dict[str, int]:
    """How many jobs wait for each rule."""
    counts = {rule.what: select(func.count()).select_from(Job).where(due(rule)) for rule in RULES}
    return {what: session.scalar(count) or 0 for what, count in counts.items()}


def _next(rule: Rule) -> bool:
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


def _remove_events(session: Session, job: Job) -> dict[str, int]:
    return {"events": job_events.remove(session, job.id)}


def _remove_all(session: Session, job: Job) -> dict[str, int]:
    folder = settings().job_folder(job.id)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return {"bytes": size, "points": metrics.remove(session, job.id)}


def _ended(days: float) -> ColumnElement[bool]:
    """So many days ago; 0 is never."""
    return Job.ended_at < func.now() - timedelta(days=days) if days else false()


def _history_is_told() -> ColumnElement[bool]:
    """No job that lives waits for this one or retries it: its history is a part of theirs."""
    other = aliased(Job)
    waits = select(JobEdge.child).join(other, other.id == JobEdge.child)
    waits = waits.where(JobEdge.parent == Job.id, other.state.not_in(FINAL))
    retries = select(other.id).where(other.retry_of == Job.id, other.state.not_in(FINAL))
    return and_(~waits.correlate(Job).exists(), ~retries.correlate(Job).exists())


RULES = (
    Rule("deleted", Job.files_removed_at, lambda: Job.deleted_at.is_not(None), _remove_all),
    Rule("logs", Job.logs_removed_at, lambda: _ended(settings().keep_logs_days), _remove_logs),
    Rule("curves", Job.curves_thinned_at, lambda: _ended(settings().keep_curves_days), _thin_curves),
    Rule(
        "events",
        Job.events_removed_at,
        lambda: and_(_ended(settings().keep_events_days), _history_is_told()),
        _remove_events,
    ),
)
