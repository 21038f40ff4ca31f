"""Runs of jobs, and their parts on machines."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.states import LIVE_PARTS, AttemptState, Desired, PartState, StopFor
from store.tables.base import JSON, Table, now, own_id

LIVE_PART = f"state in ({', '.join(repr(state.value) for state in LIVE_PARTS)})"


class Attempt(Table):
    """One try at running a job."""

    __tablename__ = "attempts"
    id: Mapped[uuid.UUID] = own_id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    state: Mapped[AttemptState] = mapped_column(default=AttemptState.dispatched)
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    hint: Mapped[str | None]
    exit_code: Mapped[int | None]
    desired: Mapped[Desired] = mapped_column(default=Desired.run)
    stop_for: Mapped[StopFor | None]
    stop_deadline: Mapped[datetime | None]
    go_at: Mapped[datetime | None]
    rdzv_endpoint: Mapped[str | None]
    inputs: Mapped[JSON | None]  # key -> {id, path, sha256}, as given to this attempt
    resume_step: Mapped[int | None]
    progress: Mapped[JSON | None]
    ended: Mapped[JSON | None]  # the Ended event, when the core wrote one
    versions: Mapped[JSON | None]  # of Started
    world_size: Mapped[int | None]
    replacements: Mapped[int] = mapped_column(server_default="0")  # clips that had to be replaced
    created_at: Mapped[datetime] = now()
    running_at: Mapped[datetime | None]
    exited_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("job_id", "epoch"),
        Index(None, "exited_at"),
        Index("uq_attempts_live", "job_id", unique=True, postgresql_where=text("state <> 'exited'")),
    )


class Part(Table):
    """One machine's share of an attempt. The fence: every write of a supervisor begins with this row."""

    __tablename__ = "attempt_parts"
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, default=0)
    epoch: Mapped[int]
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("nodes.id"))
    state: Mapped[PartState] = mapped_column(default=PartState.dispatched)
    sends: Mapped[int] = mapped_column(server_default="1")
    dispatched_at: Mapped[datetime] = now()  # of the newest send
    claimed_at: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    pid: Mapped[int | None]
    pid_start: Mapped[int | None]  # start of the process in clock ticks since boot
    pid_ns: Mapped[int | None]  # inode of its pid namespace
    boot_id: Mapped[str | None]
    heartbeat_at: Mapped[datetime | None]
    events_offset: Mapped[int] = mapped_column(server_default="0")
    exit_code: Mapped[int | None]
    attempt: Mapped[Attempt] = relationship(lazy="raise", viewonly=True)
    __table_args__ = (
        Index("ix_attempt_parts_live", "node_id", postgresql_where=text(LIVE_PART)),
        CheckConstraint("events_offset >= 0", name="offset"),
    )
