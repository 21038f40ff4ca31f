"""Who leads a loop: a row with a term, held by whoever renews it in time.

No advisory lock: poolers drop it, a half-open connection keeps it, and nobody sees its age.
"""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from store.settings import settings
from store.tables import Leader

SCHEDULER, RECONCILER = "scheduler", "reconciler"

AWAY_S = 30.0  # a leader that was away longer sees everybody as silent, and itself is why


class Leadership(NamedTuple):
    name: str
    holder: str
    term: int
    quiet: bool  # the leader itself was away: nobody may be declared lost yet


_LEAD = text(
    """
    INSERT INTO leaders AS l (name, holder, term, renewed_at, expires_at, quiet_until)
    VALUES (:name, :holder, 1, now(), now() + :lease, now() + :lost)
    ON CONFLICT (name) DO UPDATE SET
        holder = :holder,
        term = l.term + (l.holder <> :holder)::int,
        renewed_at = now(),
        expires_at = now() + :lease,
        quiet_until = CASE WHEN l.renewed_at < now() - CAST(:away AS interval) THEN now() + :lost ELSE l.quiet_until END
    WHERE l.holder = :holder OR l.expires_at < now()
    RETURNING l.term, l.quiet_until > now()
    """
)


def lead(session: Session, name: str, holder: str) -> Leadership | None:
    """Take or renew the lead; None while another holds it. Lasts for one lease time (10 s by default)."""
    times = settings().times
    row = session.execute(
        _LEAD,
        {
            "name": name,
            "holder": holder,
            "lease": timedelta(seconds=times.scaled(10)),
            "lost": timedelta(seconds=times.lost),
            "away": timedelta(seconds=times.scaled(AWAY_S)),
        },
    ).first()
    return Leadership(name, holder, row[0], row[1]) if row else None


def confirm(session: Session, leadership: Leadership) -> bool:
    """First in a leader's transaction: locks the row; False when the term is over."""
    mine = select(Leader.name).where(
        Leader.name == leadership.name,
        Leader.holder == leadership.holder,
        Leader.term == leadership.term,
        Leader.expires_at > func.now(),
    )
    return session.scalar(mine.with_for_update()) is not None


def took(session: Session, leadership: Leadership, seconds: float) -> None:
    """How long the pass took that this transaction makes."""
    session.execute(update(Leader).where(Leader.name == leadership.name).values(pass_s=seconds))


def resign(session: Session, name: str, holder: str) -> None:
    """Give the lead up at once, so that the next one need not wait."""
    mine = update(Leader).where(Leader.name == name, Leader.holder == holder)
    session.execute(mine.values(expires_at=func.now() - timedelta(seconds=1)))


def ages(session: Session) -> dict[str, float]:
    """Leader's name -> seconds since it was renewed."""
    age = func.extract("epoch", func.now() - Leader.renewed_at)
    return {name: float(seconds) for name, seconds in session.execute(select(Leader.name, age))}
