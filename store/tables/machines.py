"""Machines, their devices, who holds one, and who leads the loops."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from store.states import DeviceKind, DeviceState, NodeState
from store.tables.base import JSON, Table, now, own_id


class Node(Table):
    """A machine with a worker."""

    __tablename__ = "nodes"
    id: Mapped[uuid.UUID] = own_id()
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[NodeState] = mapped_column(default=NodeState.ready)
    reason: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'::jsonb"))
    boot_id: Mapped[str | None]
    storage_id: Mapped[str | None]
    cpus: Mapped[int]
    memory_mb: Mapped[int]
    address: Mapped[str | None]
    versions: Mapped[JSON | None]
    unclaimed: Mapped[int] = mapped_column(server_default="0")  # launches in a row that nobody took up
    heartbeat_at: Mapped[datetime] = now()
    created_at: Mapped[datetime] = now()


class Device(Table):
    """A whole GPU or a CPU slot."""

    __tablename__ = "gpus"
    id: Mapped[uuid.UUID] = own_id()
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"))
    kind: Mapped[DeviceKind]
    index: Mapped[int]
    uuid: Mapped[str | None]
    model: Mapped[str | None]
    memory_mb: Mapped[int | None]
    weight: Mapped[float] = mapped_column(server_default="1")
    state: Mapped[DeviceState] = mapped_column(default=DeviceState.ok)
    foreign: Mapped[JSON | None]  # pids and memory_mb that are not ours
    health: Mapped[JSON | None]  # use (%) and used_mb of a GPU, as its node saw them last
    __table_args__ = (
        UniqueConstraint("node_id", "kind", "index"),
        Index("uq_gpus_uuid", "uuid", unique=True, postgresql_where=text("kind = 'gpu'")),
    )


class DeviceLease(Table):
    """Who holds a device. The database itself refuses a second live lease of one."""

    __tablename__ = "gpu_leases"
    id: Mapped[uuid.UUID] = own_id()
    gpu_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("gpus.id"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id"))
    part: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int]
    owner: Mapped[str]
    project: Mapped[str]
    weight: Mapped[float] = mapped_column(server_default="1")
    leased_at: Mapped[datetime] = now()
    released_at: Mapped[datetime | None]
    __table_args__ = (
        Index("uq_gpu_leases_live", "gpu_id", unique=True, postgresql_where=text("released_at is null")),
        Index(None, "attempt_id"),
    )


class Leader(Table):
    """Who leads a loop, for how long. `term` rises when the holder changes."""

    __tablename__ = "leaders"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str]
    term: Mapped[int]
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    pass_s: Mapped[float | None]  # seconds that its last pass took
    quiet_until: Mapped[datetime]  # nobody is declared lost before: the leader itself was away
