"""Packed datasets: named, versioned, found by NAME or NAME@VERSION."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from cmac_core.events import DatasetMade
from store.keys import Principal
from store.tables import Dataset, Job


def find(session: Session, reference: str, principal: Principal) -> Dataset | None:
    """NAME@VERSION, or the newest of NAME; None when there is none or it is another project's."""
    raise NotImplementedError


def register(session: Session, job: Job, made: DatasetMade) -> Dataset:
    """What a pack made becomes the next version of its name."""
    raise NotImplementedError


def get(session: Session, reference: str, principal: Principal) -> Dataset:
    """By id or NAME[@VERSION]. Raises NotFound."""
    raise NotImplementedError


def listed(session: Session, principal: Principal, limit: int = 200) -> list[Dataset]:
    """Newest first."""
    raise NotImplementedError


def archive(session: Session, dataset_id: UUID, principal: Principal) -> Dataset:
    """No longer offered; the files stay. Raises NotFound, InUse (an unfinished job reads it)."""
    raise NotImplementedError


def quarantine(session: Session, dataset: Dataset) -> list[dict[str, Any]]:
    """Rejected files: [{source, reason, detail}]. Raises NotFound when the folder is gone."""
    raise NotImplementedError
