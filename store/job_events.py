"""A job's history: gapless, in commit order."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store import notices
from store.tables import Job, JobEvent

# Types: state, checkpoint, warning, artifact, end. `waiting` and `progress` are live only and not kept.


def add(session: Session, job: Job, type: str, actor: str, data: dict[str, Any]) -> JobEvent:
    """The next event of a job that this transaction has locked; listeners wake at the commit."""
    job.event_seq += 1
    job.version += 1
    job.updated_at = func.now()
    event = JobEvent(job_id=job.id, seq=job.event_seq, type=type, actor=actor, data=data)
    session.add(event)
    session.flush()
    notices.notify(session, notices.JOBS, str(job.id))
    return event


def after(session: Session, job_id: UUID, seq: int = 0, limit: int = 500) -> list[JobEvent]:
    """Events behind `seq`, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return list(session.scalars(query.order_by(JobEvent.seq).limit(limit)))
