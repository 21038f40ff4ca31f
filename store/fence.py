"""The fence: whoever supervises a part shows its lease with every write, and an old one changes nothing."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.orm import Session

from store import walltime
from store.errors import AlreadyRecorded, Fenced
from store.states import HELD_PARTS, LIVE_PARTS, Desired, StopFor
from store.tables import Attempt, Job, Part


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
    left_s: float | None = None  # of the job's walltime, by the database's clock; may be negative
    rdzv_endpoint: str | None = None  # where the ranks of several machines meet


_ORDERS = (
    Attempt.desired,
    Attempt.stop_for,
    Attempt.stop_deadline,
    func.extract("epoch", Attempt.stop_deadline - func.now()).label("stop_in_s"),
    Attempt.go_at,
    Attempt.rdzv_endpoint,
    walltime.left().label("left_s"),
)

# Put together once: that takes longer than to ask, and each supervisor and each machine asks every few seconds.
_SHOWN = (
    Part.attempt_id == bindparam("of_attempt"),
    Part.part == bindparam("of_part"),
    Part.epoch == bindparam("of_epoch"),
    Part.state.in_(HELD_PARTS),
    Attempt.id == Part.attempt_id,
    Job.id == Attempt.job_id,
)
_ASK = select(*_ORDERS).where(*_SHOWN)
_BEAT = (
    update(Part)
    .where(*_SHOWN, Part.events_offset == bindparam("old_offset"))
    .values(heartbeat_at=func.now(), events_offset=bindparam("new_offset"))
    .returning(*_ORDERS)
    .execution_options(synchronize_session=False)
)


def beat(session: Session, lease: Lease, old_offset: int, new_offset: int) -> Orders:
    """The fence: first in every transaction of a supervisor. It takes the row's lock, or raises.

    The offset in the same statement makes the ingest of events exactly once. Guard and write are on the same
    row: a state tested on a joined row was seen too late. Raises AlreadyRecorded(offset) when an earlier commit
    had arrived after all, Fenced when it is over.
    """
    row = session.execute(_BEAT, _shown(lease) | {"old_offset": old_offset, "new_offset": new_offset}).first()
    if row is None:
        there = session.execute(select(Part.events_offset).where(*mine(lease), Part.state.in_(HELD_PARTS))).first()
        if there is None or there.events_offset == old_offset:
            raise Fenced
        raise AlreadyRecorded(there.events_offset)
    return _orders(row)


def hold(session: Session, lease: Lease, **values: Any) -> None:
    """The fence for other writes: takes the part's row and sets `values` on it. Raises Fenced."""
    held = update(Part).where(*mine(lease), Part.state.in_(HELD_PARTS))
    if session.scalar(held.values(heartbeat_at=func.now(), **values).returning(Part.part)) is None:
        raise Fenced


def orders(session: Session, lease: Lease) -> Orders:
    """What is wanted now, without writing (every 2 s). Raises Fenced when the part is over."""
    row = session.execute(_ASK, _shown(lease)).first()
    if row is None:
        raise Fenced
    return _orders(row)


def is_live(session: Session, lease: Lease) -> bool:
    """Whether this part is not over: a process marked with another must go."""
    return session.scalar(select(Part.part).where(*mine(lease), Part.state.in_(LIVE_PARTS))) is not None


def mine(lease: Lease) -> tuple[Any, ...]:
    """What holds for the row of its part."""
    return (Part.attempt_id == lease.attempt, Part.part == lease.part, Part.epoch == lease.epoch)


def _shown(lease: Lease) -> dict[str, Any]:
    return {"of_attempt": lease.attempt, "of_part": lease.part, "of_epoch": lease.epoch}


_Orders = Row[Desired, StopFor | None, datetime | None, Any, datetime | None, str | None, float | None]


def _orders(row: _Orders) -> Orders:
    stop_in_s = None if row.stop_in_s is None else float(row.stop_in_s)
    wanted = (row.desired, row.stop_for, row.stop_deadline, stop_in_s, row.go_at)
    return Orders(*wanted, left_s=row.left_s, rdzv_endpoint=row.rdzv_endpoint)
