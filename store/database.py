"""The connection: one engine a process, one session maker, and a retry for what two transactions did to each other."""

import time
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeVar

import psycopg.errors
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from store import embedded
from store.settings import settings

T = TypeVar("T")

SILENT_S = 5.0  # the least time a transaction may wait for its client
RESTED_S = 1.0  # after which a connection is tried before it is used: it may have died meanwhile
TRIES = 3  # of a transaction that met a deadlock or a serialization error


def url() -> str:
    """Address for SQLAlchemy: CMAC_DATABASE_URL with the psycopg driver, else the embedded database's."""
    address = settings().database_url or embedded.database_url(settings())
    return make_url(address).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def dsn() -> str:
    """The same for psycopg itself (LISTEN, async streams)."""
    return make_url(url()).set(drivername="postgresql").render_as_string(hide_password=False)


@cache
def engine() -> Engine:
    """This process's engine, made at the first call. A supervisor uses one connection of its pool."""
    return create(url())


@lru_cache(maxsize=1)
def _without_transactions(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def create(address: str) -> Engine:
    """An engine for this address of SQLAlchemy's form.

    The server ends a transaction whose client says nothing more for as long as a supervisor is not yet suspect:
    a process that is stopped, or a machine that is cut off, in the middle of one would keep its rows locked from
    whoever wants to give it up for lost. Sums over many rows stay in memory (`work_mem`): a million points of curves
    are else sorted on disk before they are thinned.
    """
    times = settings().times
    silent_ms = int(max(SILENT_S, times.suspect) * 1000)
    probe_s = max(1, int(times.suspect / 3))
    given = make_url(address).query.get("options", "")
    options = f"-c work_mem=64MB {given} -c idle_in_transaction_session_timeout={silent_ms}"
    made = create_engine(
        address,
        pool_size=5,
        max_overflow=35,  # as many as an API has request threads
        pool_recycle=1800,
        connect_args={
            "application_name": "cmac-lab",
            # A machine that is cut off must notice: it has to end its own runs before they are given away.
            "connect_timeout": min(5, max(2, int(times.heartbeat))),
            "tcp_user_timeout": int(times.suspect * 1000),
            "keepalives_idle": probe_s,
            "keepalives_interval": probe_s,
            "options": options,
        },
    )
    event.listen(made, "checkin", _note_rest)
    event.listen(made, "checkout", _try_rested)
    return made


def _note_rest(_: object, record: ConnectionPoolEntry) -> None:
    record.info["rests_since"] = time.monotonic()


def _try_rested(connection: psycopg.Connection, record: ConnectionPoolEntry, _: object) -> None:
    """Not each time, as `pool_pre_ping` does: that doubles what a short request asks of the database."""
    since = record.info.get("rests_since")
    if since is None or time.monotonic() - since < RESTED_S:
        return
    try:
        connection.autocommit = True
        connection.execute("")
        connection.autocommit = False
    except psycopg.OperationalError as error:
        raise InvalidatePoolError("the database closed a resting connection") from error  # the pool opens others


class LateSession(Session):
    """A session that finds the engine when it needs it: importing this module connects to nothing."""

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        return self.bind if self.bind is not None else engine()


class ReadingSession(LateSession):
    """For what only reads: each statement by itself, without a round trip to begin a transaction and one to end it.

    What one statement writes, such as that a key was used, needs no transaction either; changed objects are refused.
    """

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        return _without_transactions(engine())

    def flush(self, *args: Any, **kwargs: Any) -> None:
        changed = [*self.new, *self.dirty, *self.deleted]
        assert not changed, f"a session that only reads was given something to write: {changed}"


sessions: sessionmaker[Session] = sessionmaker(class_=LateSession, expire_on_commit=False)
readers: sessionmaker[ReadingSession] = sessionmaker(class_=ReadingSession, expire_on_commit=False)


def transact(work: Callable[[Session], T]) -> T:
    """Run `work` in a transaction of its own; a deadlock or serialization error is tried again, 3 times in all."""
    for tries_left in reversed(range(TRIES)):
        try:
            with sessions.begin() as session:
                return work(session)
        except DBAPIError as error:
            if not (tries_left and was_collision(error)):
                raise
    raise AssertionError("unreachable")


def was_collision(error: DBAPIError) -> bool:
    """Whether two transactions met, so that the same work may succeed a moment later."""
    return isinstance(error.orig, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)


def is_away(error: BaseException) -> bool:
    """Whether an error means that the database cannot be reached now (restart, network), not that work is wrong."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, psycopg.OperationalError)
    lost = isinstance(error.orig, psycopg.OperationalError) and not was_collision(error)
    return error.connection_invalidated or lost


def forget() -> None:
    """Close this process's connections and read the settings anew at the next use (tests, after a fork)."""
    if engine.cache_info().currsize:
        engine().dispose()
    engine.cache_clear()
    _without_transactions.cache_clear()
