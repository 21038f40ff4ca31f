"""Who leads a loop: a row with a term, held by whoever renews it in time."""

from typing import NamedTuple

from sqlalchemy.orm import Session

SCHEDULER, RECONCILER, RELAY = "scheduler", "reconciler", "relay"


class Leadership(NamedTuple):
    name: str
    holder: str
    term: int
    quiet: bool  # the leader itself was away: nobody may be declared lost yet


def lead(session: Session, name: str, holder: str) -> Leadership | None:
    """Take or renew the lead; None while another holds it. Lasts for one lease time (10 s by default)."""
    raise NotImplementedError


def confirm(session: Session, leadership: Leadership) -> bool:
    """First in a leader's transaction: locks the row; False when the term is over."""
    raise NotImplementedError


def resign(session: Session, name: str, holder: str) -> None:
    """Give the lead up at once, so that the next one need not wait."""
    raise NotImplementedError


def ages(session: Session) -> dict[str, float]:
    """Leader's name -> seconds since it was renewed."""
    raise NotImplementedError
