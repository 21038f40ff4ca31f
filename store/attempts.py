"""One try at running a job. Whoever writes shows its lease; an old one changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from store.ends import Reason
from store.states import Desired, DeviceKind, PartState, StopFor
from store.tables import Attempt, Device, Job


class Lease(NamedTuple):
    """What a supervisor shows with every write."""

    attempt: UUID
    epoch: int
    part: int = 0


class Orders(NamedTuple):
    """What is wanted of an attempt."""

    desired: Desired
    stop_for: StopFor | None
    stop_deadline: datetime | None  # the database's clock
    stop_in_s: float | None  # seconds from now to that deadline, by the database's clock; may be negative
    go_at: datetime | None


class LeasedDevice(NamedTuple):
    id: UUID
    kind: DeviceKind
    index: int
    uuid: str | None


@dataclass(frozen=True)
class Work:
    """Everything a supervisor needs to know before it starts the core."""

    lease: Lease
    job_id: UUID
    kind: str
    spec: dict[str, Any]  # the stored spec, as is
    node_id: UUID
    devices: tuple[LeasedDevice, ...]
    inputs: dict[str, dict[str, str | None]]  # key of inputs.json -> {path, sha256}
    resume_checkpoint: UUID | None  # behind inputs["resume"]
    grace_s: float
    events_offset: int
    folder: Path  # of this attempt
    orders: Orders


class LivePart(NamedTuple):
    """A part that the database believes to live on a node."""

    lease: Lease
    job_id: UUID
    state: PartState
    pid: int | None
    pid_start: int | None
    pid_ns: int | None
    boot_id: str | None
    events_offset: int
    folder: Path
    dispatched_s: float  # seconds since it was (last) sent
    stop_for: StopFor | None


def place(session: Session, job_id: UUID, node_id: UUID, devices: Sequence[Device]) -> Lease | None:
    """Give a queued job to a node, in one transaction with its messages; None when it is no longer queued."""
    raise NotImplementedError


def claim(session: Session, attempt: UUID, epoch: int, node_id: UUID) -> Lease | None:
    """Take what was placed on this node; None when another delivery came first or it is over. Worker and node loop."""
    raise NotImplementedError


def adopt(session: Session, lease: Lease, pid: int, pid_start: int, pid_ns: int, boot_id: str) -> Work:
    """Become the supervisor of a claimed part. Raises AlreadyAdopted when there is one, Fenced when it is over."""
    raise NotImplementedError


def ready(session: Session, lease: Lease) -> bool:
    """This part could start. When it is the last one: go_at is set, attempt and job are running. Raises Fenced."""
    raise NotImplementedError


def beat(session: Session, lease: Lease, old_offset: int, new_offset: int) -> Orders:
    """The fence: first in every transaction of a supervisor. It takes the row's lock, or raises.

    Raises AlreadyRecorded(offset) when an earlier commit had arrived after all, Fenced when it is over.
    """
    raise NotImplementedError


def orders(session: Session, lease: Lease) -> Orders:
    """What is wanted now, without writing (every 2 s). Raises Fenced when the part is over."""
    raise NotImplementedError


def stopping(session: Session, lease: Lease) -> None:
    """The supervisor has passed the wish to stop on. Raises Fenced."""
    raise NotImplementedError


def finish(
    session: Session,
    lease: Lease,
    reason: Reason,
    exit_code: int | None = None,
    detail: str = "",
    hint: str = "",
    log_tail: str = "",
) -> Job:
    """This part is over and its devices were seen empty: leases end, and the job goes where QUEUE 8 says.

    Call `record` for the last event lines first, in the same transaction. Also used by the node loop for a
    part whose supervisor is gone (supervisor_lost, node_rebooted). Raises Fenced.
    """
    raise NotImplementedError


def give_up(session: Session, attempt: UUID, reason: Reason, *, release: bool, detail: str = "") -> bool:
    """The reconciler's: end an attempt whose supervisor is silent; False when it has ended meanwhile.

    `release=False` keeps the devices leased until the node's own loop has killed what is left (`release`).
    """
    raise NotImplementedError


def release(session: Session, attempt: UUID) -> int:
    """End the leases of an attempt that is over, once its processes are gone; how many there were."""
    raise NotImplementedError


def leftover(session: Session, node_id: UUID) -> list[UUID]:
    """Attempts that are over while their devices on this node are still leased: kill their marks, then `release`."""
    raise NotImplementedError


def live_parts(session: Session, node_id: UUID) -> list[LivePart]:
    """All parts on this node that are not over, also those `dispatched` for which no message came."""
    raise NotImplementedError


def is_live(session: Session, lease: Lease) -> bool:
    """Whether this part is not over: a process marked with another must go."""
    raise NotImplementedError


def of_job(session: Session, job_id: UUID) -> list[dict[str, Any]]:
    """Every try: epoch, node, devices, times, reason, exit code; oldest first."""
    raise NotImplementedError


def newest(session: Session, job_id: UUID) -> Attempt | None:
    """The latest attempt of a job, live or not."""
    raise NotImplementedError
