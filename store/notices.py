"""NOTIFY and LISTEN: they only wake, so a lost one costs time and nothing else."""

import select
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from store import database

QUEUE = "cmac_queue"  # something may be placed now; no payload
JOBS = "cmac_jobs"  # payload: id of the job that changed (state, progress, waiting, metrics)


class Notice(NamedTuple):
    channel: str
    payload: str


_SEND = text(
    """
    SELECT pg_notify(channel, payload)
      FROM unnest(CAST(:channels AS text[]), CAST(:payloads AS text[])) AS told (channel, payload)
    """
)


def notify(session: Session, channel: str, payload: str = "") -> None:
    """Wake listeners of a channel when this transaction commits."""
    send(session, [Notice(channel, payload)])


def send(session: Session, notices: Sequence[Notice]) -> None:
    """Wake listeners when this transaction commits, once for each notice."""
    channels, payloads = zip(*notices, strict=True)
    session.execute(_SEND, {"channels": list(channels), "payloads": list(payloads)})


class Listener:
    """A connection of its own that listens. Sync: for loops; the api's streams use psycopg's async one on `dsn()`."""

    def __init__(self, *channels: str) -> None:
        self._connection = psycopg.connect(database.dsn(), autocommit=True, connect_timeout=5)
        self._ready = select.poll()
        self._ready.register(self._connection.fileno(), select.POLLIN)
        for channel in channels:
            self._connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))

    def wait(self, timeout_s: float) -> list[Notice]:
        """What arrived within the time; at once when something is there. Raises psycopg.OperationalError when cut."""
        # psycopg looks ten times a second while it waits for notices; a descriptor costs nothing until it is ready.
        self._ready.poll(1000 * timeout_s)
        notices = self._connection.notifies(timeout=0)
        return [Notice(notice.channel, notice.payload) for notice in notices]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
