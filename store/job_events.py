"""A job's history: gapless, in commit order, until retention leaves of it what closes it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from store import notices
from store.states import JobState
from store.tables import Job, JobEvent

# Types: state, checkpoint, warning, artifact, changed, end. `waiting` and `progress` are live only and not kept.
KEPT = ("warning", "end")  # what results show, and what closes a history


def begin(session: Session, states: Mapping[UUID, Sequence[JobState]], actor: str) -> None:
    """The first events of jobs that this transaction has stored: the state each was born in, and what followed.

    Listeners are woken by who stores the jobs.
    """
    for job_id, (born, *later) in states.items():
        data = {"state": born, "was": None, "epoch": 0}
        session.add(JobEvent(job_id=job_id, seq=1, type="state", actor=actor, data=data))
        for seq, (was, state) in enumerate(pairwise((born, *later)), start=2):
            data = changed(state, was)
            session.add(JobEvent(job_id=job_id, seq=seq, type="state", actor="system", data=data))
    session.flush()


def changed(
    state: JobState, was: JobState, epoch: int = 0, reason: str | None = None, detail: str = "", hint: str = ""
) -> dict[str, Any]:
    """What an event tells of a change of state."""
    return {"state": state, "was": was, "epoch": epoch, "reason": reason, "detail": detail, "hint": hint}


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


def remove(session: Session, job_id: UUID) -> int:
    """Of a job that is over all but its warnings and its end; how many."""
    gone = delete(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type.not_in(KEPT)).returning(JobEvent.seq)
    return len(session.scalars(gone).all())


def after(session: Session, job_id: UUID, seq: int = 0, limit: int = 500) -> list[JobEvent]:
    """Events behind `seq`, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return list(session.scalars(query.order_by(JobEvent.seq).limit(limit)))
