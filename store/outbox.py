"""Messages that were committed with what they tell of; the relay sends them, at least once."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

Send = Callable[[str, dict[str, Any]], None]  # queue, payload; raises BrokerAway


def relay(session: Session, send: Send, limit: int = 50) -> int:
    """Send what is due, oldest first; how many were sent. Rows that another relay holds are skipped.

    When the broker is away the row waits a few seconds and the batch ends.
    """
    raise NotImplementedError


def pending(session: Session) -> int:
    """Messages not yet sent."""
    raise NotImplementedError
