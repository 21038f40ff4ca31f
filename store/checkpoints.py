"""Saved states: registered when whole, resumed from when good, removed when old."""

from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from store.attempts import Lease
from store.keys import Principal
from store.tables import Checkpoint


def of_job(session: Session, job_id: UUID) -> list[Checkpoint]:
    """Newest first, also bad and deleted ones."""
    raise NotImplementedError


def get(session: Session, checkpoint_id: UUID, principal: Principal) -> Checkpoint:
    """Raises NotFound."""
    raise NotImplementedError


def last_good(session: Session, job_id: UUID) -> Checkpoint | None:
    """The newest full one in state ok."""
    raise NotImplementedError


def mark_bad(session: Session, lease: Lease, checkpoint_id: UUID, detail: str) -> Checkpoint | None:
    """Its hash is wrong or its file is gone: never used again; the one to try now, or None. Raises Fenced."""
    raise NotImplementedError


def expire(session: Session, limit: int = 100) -> list[tuple[UUID, Path]]:
    """Rows marked `deleting` and their folders; the caller removes the folder, then calls `deleted`."""
    raise NotImplementedError


def deleted(session: Session, checkpoint_id: UUID) -> None:
    """The folder is gone."""
    raise NotImplementedError
