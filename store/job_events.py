"""A job's history: gapless, in commit order."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from store.tables import Job, JobEvent

# Types: state, checkpoint, warning, artifact, end. `waiting` and `progress` are live only and not kept.


def add(session: Session, job: Job, type: str, actor: str, data: dict[str, Any]) -> JobEvent:
    """The next event of a locked job; listeners wake at the commit."""
    raise NotImplementedError


def after(session: Session, job_id: UUID, seq: int = 0, limit: int = 500) -> list[JobEvent]:
    """Events behind `seq`, in order."""
    raise NotImplementedError
