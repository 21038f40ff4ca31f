"""Messages that were committed with what they tell of; the relay sends them, at least once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from store.errors import BrokerAway
from store.tables import Outbox

Send = Callable[[str, dict[str, Any]], None]  # queue, payload; raises BrokerAway

RETRY_S = 5.0  # a broker that is away is asked again after this
WAITING = (Outbox.kind == "launch", Outbox.sent_at.is_(None), Outbox.gave_up_at.is_(None))  # not `deliveries`' rows
_DUE = (
    select(Outbox)
    .where(*WAITING, Outbox.available_at <= func.now())
    .order_by(Outbox.available_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def add(session: Session, queue: str, payload: dict[str, Any]) -> None:
    """A launch message of this transaction."""
    session.add(Outbox(queue=queue, payload=payload))


def relay(session: Session, send: Send, limit: int = 50) -> int:
    """Send what is due, oldest first; how many were sent. Rows that another relay holds are skipped.

    When the broker is away the row waits a few seconds and the batch ends.
    """
    rows = session.scalars(_DUE, {"most": limit}).all()
    for sent, row in enumerate(rows):
        row.sends += 1
        try:
            send(row.queue, row.payload)
        except BrokerAway as error:
            row.error = str(error)[:500]
            row.available_at = func.now() + timedelta(seconds=RETRY_S)
            return sent
        row.sent_at, row.error = func.clock_timestamp(), None
    return len(rows)


class Backlog(NamedTuple):
    """Launch messages not yet sent, and seconds since the oldest of them was written."""

    messages: int
    oldest_s: float


def backlog(session: Session) -> Backlog:
    """What the relay has not sent yet."""
    age = func.coalesce(func.extract("epoch", func.clock_timestamp() - func.min(Outbox.created_at)), 0)
    messages, seconds = session.execute(select(func.count(), age).where(*WAITING)).one()
    return Backlog(messages, float(seconds))
