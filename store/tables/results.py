"""What runs leave: curves, checkpoints, files, values."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from store.states import CheckpointState
from store.tables.base import JSON, Table, now, own_id

LABELS = ("split", "fold", "seed", "pool", "selection", "modality")  # what tells equal names of a result apart


class Metric(Table):
    """One point of a curve. An epoch counts up to the next one's resume_step."""

    __tablename__ = "metrics"
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]  # null: was not finite
    train_epoch: Mapped[float | None]
    at: Mapped[datetime] = now()


class Checkpoint(Table):
    """A saved state. It exists when this row does."""

    __tablename__ = "checkpoints"
    id: Mapped[uuid.UUID] = own_id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    step: Mapped[int]
    train_epoch: Mapped[float]
    kind: Mapped[str]
    path: Mapped[str]  # absolute, of state.pt
    sha256: Mapped[str]
    bytes: Mapped[int]
    metrics: Mapped[JSON | None]
    state: Mapped[CheckpointState] = mapped_column(default=CheckpointState.ok)
    pinned_by: Mapped[str | None]
    created_at: Mapped[datetime] = now()
    __table_args__ = (
        UniqueConstraint("job_id", "epoch", "step", "kind"),
        CheckConstraint("kind in ('full', 'weights')", name="kind"),
    )


class Artifact(Table):
    """A file that outlives its attempt; it stays in the attempt's folder."""

    __tablename__ = "artifacts"
    id: Mapped[uuid.UUID] = own_id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str]
    media_type: Mapped[str]
    path: Mapped[str]  # absolute
    sha256: Mapped[str]
    bytes: Mapped[int]
    meta: Mapped[JSON] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = now()
    __table_args__ = (UniqueConstraint("job_id", "epoch", "name"), Index(None, "sha256"))


class Result(Table):
    """What a job found out."""

    __tablename__ = "results"
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str]
    epoch: Mapped[int]
    protocol: Mapped[JSON]
    lineage: Mapped[JSON]
    created_at: Mapped[datetime] = now()


class ResultValue(Table):
    """One number, never without its n. Unique over all its labels."""

    __tablename__ = "result_values"
    id: Mapped[uuid.UUID] = own_id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("results.job_id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    n: Mapped[int]
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    split: Mapped[str | None]
    fold: Mapped[str | None]
    seed: Mapped[int | None]
    pool: Mapped[str | None]
    selection: Mapped[str | None]
    modality: Mapped[str | None]
    paper: Mapped[float | None]
    random_init: Mapped[float | None]
    chance: Mapped[float | None]
    __table_args__ = (
        # Without NULLS NOT DISTINCT two equal rows went in (RULINGS 11).
        Index(
            "uq_result_values_labels",
            "job_id",
            "name",
            *LABELS,
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
