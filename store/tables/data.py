"""Where media lie, and what was packed of them."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from store.states import DatasetState
from store.tables.base import JSON, Table, now, own_id


class Root(Table):
    """A named folder below which media may be read."""

    __tablename__ = "roots"
    id: Mapped[uuid.UUID] = own_id()
    name: Mapped[str] = mapped_column(unique=True)
    path: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = now()


class Dataset(Table):
    """A packed dataset: a folder and the hash of its manifest."""

    __tablename__ = "datasets"
    id: Mapped[uuid.UUID] = own_id()
    project: Mapped[str] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))
    name: Mapped[str]
    version: Mapped[int]
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), unique=True)
    root: Mapped[str | None]
    path: Mapped[str]  # absolute
    manifest_sha256: Mapped[str]
    clips: Mapped[int]
    quarantined: Mapped[int]
    with_audio: Mapped[int]
    hours: Mapped[float]
    bytes: Mapped[int]
    media: Mapped[str]
    labels: Mapped[JSON]  # column -> number of different values
    counts: Mapped[JSON]  # split -> clips
    licence: Mapped[str | None]
    state: Mapped[DatasetState] = mapped_column(default=DatasetState.ok)
    created_at: Mapped[datetime] = now()
    __table_args__ = (UniqueConstraint("name", "version"), CheckConstraint("media in ('video', 'audio')", name="media"))

    @property
    def reference(self) -> str:
        """NAME@VERSION, as specs name it."""
        return f"{self.name}@{self.version}"
