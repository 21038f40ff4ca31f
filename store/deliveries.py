"""Deliveries of webhooks on their way: taken, sent by the worker outside of any transaction, told how it went.

One that was taken by a worker that died is due again a minute later: at least once, under one id.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from store.tables import Outbox, Webhook
from store.webhooks import KIND, PING

TAKEN_S = 60.0  # nobody else sends it meanwhile
AT_ONCE = 5  # to one receiver; one that fails gets a single try
FIRST_RETRY_S, LONGEST_RETRY_S = 60.0, 12 * 3600.0
GIVE_UP = timedelta(days=3)
KEPT = timedelta(days=30)
LONGEST_ERROR = 300  # characters


class Delivery(NamedTuple):
    """What is sent, and where."""

    id: UUID
    event: str
    at: datetime
    data: dict[str, Any]
    url: str
    secret: str


def retry_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: a minute, doubled each time, at most 12 h."""
    return min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), LONGEST_RETRY_S)


@cache
def _due() -> Select[Outbox, Webhook]:
    """Made once: to put it together takes longer than to ask it."""
    is_ping = Outbox.queue == PING
    order = (is_ping.desc(), Outbox.available_at)
    place = func.row_number().over(partition_by=Outbox.webhook_id, order_by=order).label("place")
    due = (
        select(Outbox.id, place, case((Webhook.failures > 0, 1), else_=AT_ONCE).label("most"))
        .join(Webhook, Webhook.id == Outbox.webhook_id)
        .where(Outbox.kind == KIND, Outbox.sent_at.is_(None), Outbox.gave_up_at.is_(None))
        .where(Outbox.available_at <= func.now())
        .where(or_(is_ping, Webhook.not_before.is_(None), Webhook.not_before <= func.now()))
        .subquery()
    )
    chosen = select(due.c.id).where(due.c.place <= due.c.most)
    query = select(Outbox, Webhook).join(Webhook, Webhook.id == Outbox.webhook_id)
    # Looked at again under the lock: another worker may have taken one meanwhile.
    query = query.where(Outbox.id.in_(chosen), Outbox.available_at <= func.now()).order_by(*order)
    return query.limit(bindparam("at_most")).with_for_update(of=Outbox, skip_locked=True)


def take(session: Session, most: int) -> list[Delivery]:
    """What is due, tests first, then oldest first; few to each receiver, so that one cannot fill a round."""
    rows = session.execute(_due(), {"at_most": most}).all()
    for row, _ in rows:
        row.sends += 1
        row.available_at = func.now() + timedelta(seconds=TAKEN_S)
    session.flush()
    return [Delivery(row.id, row.queue, row.created_at, row.payload, hook.url, hook.secret) for row, hook in rows]


def arrived(session: Session, delivery: UUID, status: int) -> None:
    """The receiver took it: whatever was wrong is over."""
    if (found := _lock(session, delivery)) is None:
        return  # the webhook was removed
    row, hook = found
    row.sent_at, row.status, row.error = func.now(), status, None
    if row.queue == PING or hook.disabled_at is None:
        hook.failures, hook.failing_since, hook.not_before, hook.error, hook.disabled_at = 0, None, None, None, None
    session.flush()


def failed(session: Session, delivery: UUID, error: str, status: int | None = None) -> None:
    """It will be tried again, the receiver as a whole after a pause; after three days nothing more is sent to it."""
    if (found := _lock(session, delivery)) is None:
        return
    row, hook = found
    row.error, row.status = error[:LONGEST_ERROR], status
    too_old = session.scalar(select(Outbox.created_at < func.now() - GIVE_UP).where(Outbox.id == row.id))
    if row.queue == PING or too_old:
        row.gave_up_at = func.now()
    else:
        row.available_at = func.now() + timedelta(seconds=retry_s(row.sends))
    session.flush()
    if row.queue != PING:
        _count(session, hook, error)


def old() -> ColumnElement[bool]:
    """Which deliveries are not kept any longer."""
    return and_(Outbox.kind == KIND, Outbox.created_at < func.now() - KEPT)


def forget_old(session: Session) -> int:
    """Deliveries are kept for 30 days; how many went."""
    return len(session.scalars(delete(Outbox).where(old()).returning(Outbox.id)).all())


def _lock(session: Session, delivery: UUID) -> tuple[Outbox, Webhook] | None:
    """Both rows, the webhook's first, as whoever removes one takes them; None when it is gone or has arrived."""
    hooks = select(Webhook).join(Outbox, Outbox.webhook_id == Webhook.id).where(Outbox.id == delivery)
    hooks = hooks.with_for_update(of=Webhook, key_share=True).execution_options(populate_existing=True)
    hook = session.scalar(hooks)
    rows = select(Outbox).where(Outbox.id == delivery, Outbox.sent_at.is_(None)).with_for_update()
    row = session.scalar(rows.execution_options(populate_existing=True))
    return None if hook is None or row is None else (row, hook)


def _count(session: Session, hook: Webhook, error: str) -> None:
    """Deliveries that fail together count once: the first of them starts the pause."""
    hook.error = error[:LONGEST_ERROR]
    pauses = select(func.coalesce(Webhook.not_before > func.now(), False)).where(Webhook.id == hook.id)
    if hook.disabled_at is not None or session.scalar(pauses):
        return
    hook.failures += 1
    hook.failing_since = hook.failing_since or func.now()
    hook.not_before = func.now() + timedelta(seconds=retry_s(hook.failures))
    session.flush()
    for_long = select(Webhook.failing_since < func.now() - GIVE_UP).where(Webhook.id == hook.id)
    if session.scalar(for_long):
        _disable(session, hook)


def _disable(session: Session, hook: Webhook) -> None:
    hook.disabled_at = func.now()
    waiting = update(Outbox).where(Outbox.webhook_id == hook.id)
    waiting = waiting.where(Outbox.sent_at.is_(None), Outbox.gave_up_at.is_(None))
    session.execute(
        waiting.values(gave_up_at=func.now(), error=func.coalesce(Outbox.error, "the webhook was disabled"))
    )
