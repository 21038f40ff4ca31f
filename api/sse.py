"""Server-sent events: framing, waiting, the comment that says "still here", and the end."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

from fastapi.encoders import jsonable_encoder
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool

from api.rates import StreamSlots
from api.settings import ApiSettings
from api.wakeups import Wakeups
from store.database import is_away

log = logging.getLogger("api.sse")

RETRY_MS = 3000
_TOGETHER_S = 0.05
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Sent(NamedTuple):
    """One event. Those without an id are live only: nobody can ask for them again."""

    type: str
    data: Any
    id: str | None = None

    def frame(self) -> bytes:
        """As it goes over the wire."""
        data = _json(self.data)
        return format_sse_event(data_str=data, event=self.type, id=self.id)


class Tail(Protocol):
    """Something that grows. `read` runs in a thread, for a moment, and remembers how far it came."""

    ended: bool
    poll_s: float | None  # where no notice tells of news

    def read(self) -> list[Sent]: ...


class Streams:
    """All open streams of this process."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self.slots = StreamSlots(settings.streams_per_key, settings.streams)
        self.wakeups = Wakeups()
        self._leaving = False

    def leave(self) -> None:
        """The process stops: end every stream, so that clients connect to the next one."""
        self._leaving = True
        self.wakeups.wake()

    def open(self, key: str, job: str, tail: Tail) -> StreamingResponse:
        """The answer that goes on until the tail's end. Raises TooManyStreams."""
        self.slots.check(key)
        frames = self._frames(key, job, tail)
        return StreamingResponse(frames, media_type="text/event-stream", headers=HEADERS)

    async def _frames(self, key: str, job: str, tail: Tail) -> AsyncIterator[bytes]:
        with self.slots.hold(key), self.wakeups.of(job) as woken:
            yield format_sse_event(retry=RETRY_MS)
            spoke = time.monotonic()
            while not self._leaving:
                woken.clear()
                events = await _read(tail)
                for event in events or ():
                    yield event.frame()
                if tail.ended:
                    return
                if events:
                    spoke = time.monotonic()
                    continue  # there may be more than one reading holds
                if time.monotonic() - spoke >= self._settings.stream_comment_s:
                    yield format_sse_event(comment="still here")
                    spoke = time.monotonic()
                await self._wait(woken, tail)

    async def _wait(self, woken: asyncio.Event, tail: Tail) -> None:
        settings = self._settings
        timeout = settings.stream_comment_s if self.wakeups.connected else settings.stream_poll_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), min(timeout, tail.poll_s or timeout))
            await asyncio.sleep(_TOGETHER_S)  # one reading for several notices


async def _read(tail: Tail) -> list[Sent] | None:
    """None while the database is away: the stream waits for it."""
    try:
        return await run_in_threadpool(tail.read)
    except DBAPIError as error:
        if not is_away(error):
            raise
        log.warning("a stream waits for the database")
        return None


def _json(value: Any) -> str:
    return json.dumps(jsonable_encoder(value), ensure_ascii=False, separators=(",", ":"))
