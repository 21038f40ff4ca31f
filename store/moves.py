"""The only place that changes a job's state: by the table of moves, with its event row, passing it on to children."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store import job_events, notices, webhooks
from store.ends import DEPENDENCY_FAILED
from store.errors import IllegalMove, NotFound
from store.states import FINAL, MOVES, EdgeKind, JobState, StopFor
from store.tables import Job, JobEdge


def lock(session: Session, job_id: UUID) -> Job:
    """The job's row, fresh and locked till the transaction ends. Raises NotFound."""
    # NO KEY UPDATE: rows that only refer to the job (metrics of a supervisor) need not wait.
    query = select(Job).where(Job.id == job_id).with_for_update(key_share=True)
    job = session.scalar(query.execution_options(populate_existing=True))
    if job is None:
        raise NotFound(f"no job {job_id}")
    return job


def move(
    session: Session,
    job: Job,
    to: JobState,
    actor: str,
    *,
    reason: str | None = None,
    detail: str = "",
    hint: str = "",
    stop_for: StopFor | None = None,
    more: dict[str, Any] | None = None,
) -> Job:
    """Change a locked job's state, write its event row, tell receivers, settle children. Raises IllegalMove."""
    was = job.state
    if to not in MOVES[was]:
        raise IllegalMove(f"a job that is {was} cannot become {to}", state=str(was), allowed=sorted(MOVES[was]))
    job.state, job.reason = to, reason
    job.detail, job.hint = detail or None, hint or None
    job.stop_for = stop_for
    if to is not JobState.queued:
        job.waiting = None
    if to is JobState.running and job.started_at is None:
        job.started_at = func.now()
    if to in FINAL:
        job.ended_at = func.now()
    data = job_events.changed(to, was, job.epoch, reason, detail, hint)
    data |= {"stop_for": stop_for} if stop_for else {}
    job_events.add(session, job, "end" if to in FINAL else "state", actor, data | (more or {}))
    webhooks.tell_of_job(session, job, was)
    if to is JobState.queued or to in FINAL:
        notices.notify(session, notices.QUEUE)
    if to in FINAL:
        settle_children(session, job)
    return job


def settle_children(session: Session, parent: Job) -> None:
    """Release or cancel those that wait for a parent that has just become final."""
    children = select(JobEdge.child).where(JobEdge.parent == parent.id).order_by(JobEdge.child)
    for child in session.scalars(children).all():
        settle(session, lock(session, child))


def settle(session: Session, job: Job) -> None:
    """A locked job that is blocked: queued when every parent satisfies its edge, cancelled when one never can."""
    if job.state is not JobState.blocked:
        return
    parents = session.execute(
        select(JobEdge.kind, Job.id, Job.state).join(Job, Job.id == JobEdge.parent).where(JobEdge.child == job.id)
    ).all()
    for kind, parent, state in parents:
        if kind is EdgeKind.afterok and state in FINAL and state is not JobState.succeeded:
            detail = f"It waited for job {parent}, which {_ended(state)}."
            move(session, job, JobState.cancelled, "system", reason=DEPENDENCY_FAILED, detail=detail)
            return
    if all(state in FINAL for _, _, state in parents):
        move(session, job, JobState.queued, "system")


def _ended(state: JobState) -> str:
    return "was cancelled" if state is JobState.cancelled else str(state)
