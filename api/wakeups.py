"""One LISTEN connection for the whole process: it wakes the streams of the jobs that changed."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from store import database, notices

log = logging.getLogger("api.wakeups")

_AGAIN_S = 1.0
_CHECK_S = 30.0


class Wakeups:
    """Streams wait here. A lost notice costs them one polling interval and nothing else."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.connected = False  # without: streams poll

    @contextmanager
    def of(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever this job changes; whoever waits clears it."""
        woken = asyncio.Event()
        self._waiting.setdefault(job, set()).add(woken)
        try:
            yield woken
        finally:
            self._waiting[job].discard(woken)
            if not self._waiting[job]:
                del self._waiting[job]

    def wake(self, job: str | None = None) -> None:
        """Wake the streams of one job, or all."""
        for name in [job] if job else list(self._waiting):
            for woken in self._waiting.get(name, ()):
                woken.set()

    async def listen(self) -> None:
        """Until cancelled: listen, and come back by itself when the connection breaks."""
        said = False
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    database.dsn(), autocommit=True, connect_timeout=5
                ) as connection:
                    await connection.execute(f"LISTEN {notices.JOBS}".encode())
                    said, self.connected = False, True
                    self.wake()  # something may have happened while nobody listened
                    while True:
                        if not await _readable(connection, _CHECK_S):
                            await connection.execute(b"SELECT 1")  # notices a connection that is half open
                        async for notice in connection.notifies(timeout=0):
                            self.wake(notice.payload)
            except (psycopg.Error, OSError) as error:
                self.connected = False
                if not said:
                    log.warning("no notices for now, streams poll: %s", str(error).strip())
                    said = True
                await asyncio.sleep(_AGAIN_S)
            finally:
                self.connected = False


async def _readable(connection: "psycopg.AsyncConnection[Any]", timeout_s: float) -> bool:
    """Whether something arrived within the time. psycopg itself looks ten times a second while it waits."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), arrived.set)
    try:
        async with asyncio.timeout(timeout_s):
            return await arrived.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(connection.fileno())
