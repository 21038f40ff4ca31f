"""Event lines become rows, each once, whatever stands in them."""

import logging
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cmac_core.events import AnyEvent, Warned
from store import database
from store.fence import Lease
from store.record import record

log = logging.getLogger(__name__)


def ingest(session: Session, lease: Lease, events: Sequence[AnyEvent]) -> None:
    """Record events under a fence that is already held. One that cannot be stored becomes a warning, not an end:

    a training must not die of a line that the database refuses, and the lines behind it count too.
    """
    if not events or _stored(session, lease, events):
        return
    for event in events:
        if not _stored(session, lease, [event]):
            message = f"an event of type {event.type} could not be stored"
            record(session, lease, [Warned(code="not_recorded", message=message)])


def _stored(session: Session, lease: Lease, events: Sequence[AnyEvent]) -> bool:
    try:
        with session.begin_nested():
            record(session, lease, events)
    except (DBAPIError, ValueError) as error:
        if isinstance(error, DBAPIError) and (database.is_away(error) or database.was_collision(error)):
            raise
        log.exception("events not stored", extra={"data": {"events": [event.type for event in events]}})
        return False
    return True
