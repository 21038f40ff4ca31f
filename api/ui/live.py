"""What keeps a page live: one event stream each."""

import re
import time
from typing import Any, NamedTuple, Self
from uuid import UUID

from fastapi.encoders import jsonable_encoder

from api.sse import Sent, Tail
from api.tails import END, EventTail, LogTail, MetricTail
from store import board
from store.database import sessions
from store.errors import BadRequest

_LOOK_S = 2.0
_PLACE = re.compile(r"(\d{1,15})?-(\d{1,15}(\.\d{1,15}){0,2})?-(\d{1,15}(\.\d{1,15})?)?", re.ASCII)


class BoardTail:
    """`changed` whenever the queue is other than at `mark`; the page then reads itself anew."""

    poll_s: float | None = _LOOK_S

    def __init__(self, mark: str) -> None:
        self.ended = False
        self._mark = mark
        self._looked = 0.0

    def read(self) -> list[Sent]:
        if time.monotonic() - self._looked < _LOOK_S / 2:
            return []
        with sessions() as session:
            mark = board.mark(session)
        self._looked = time.monotonic()
        was, self._mark = self._mark, mark
        return [Sent("changed", {})] if was != mark else []


class Position(NamedTuple):
    """How far a page has read of a job's events, curves and log."""

    event: tuple[int, ...] = ()
    point: tuple[int, ...] = ()
    log: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """As it stands in an event's id: `seq-epoch.step[.values]-epoch.byte`, each may be empty. Raises BadRequest."""
        if not _PLACE.fullmatch(text or "--"):
            raise BadRequest(f"{text!r} is no place in this stream")
        parts = (text or "--").split("-")
        numbers = [[digits for digits in part.split(".") if digits] for part in parts]
        return cls(*(tuple(map(int, part)) for part in numbers))

    def __str__(self) -> str:
        return "-".join(".".join(map(str, part)) for part in self)


class JobTail:
    """Events, points and log of one job together: a browser has few connections, and a key few streams.

    Each event's id is how far all three have been read, so a reconnect loses nothing of any.
    """

    def __init__(self, job: UUID, position: Position) -> None:
        self._at = position
        self._tails: dict[str, Tail] = {
            "event": EventTail(job, *position.event),
            "point": MetricTail(job, None, *position.point),
            "log": LogTail(job, *position.log),
        }
        self.ended = False
        self.poll_s = self._tails["log"].poll_s
        self._end: dict[str, Any] = {}

    def read(self) -> list[Sent]:
        sent = [event for name, tail in self._tails.items() if not tail.ended for event in self._read(name, tail)]
        self.ended = all(tail.ended for tail in self._tails.values())
        return [*sent, Sent(END, self._end, str(self._at))] if self.ended else sent

    def _read(self, name: str, tail: Tail) -> list[Sent]:
        told = []
        for event in tail.read():
            if event.id is not None:
                self._at = self._at._replace(**{name: tuple(map(int, event.id.split(".")))})
            if event.type == END:  # said once, when nothing of any follows
                self._end |= jsonable_encoder(event.data)
            else:
                told.append(event._replace(id=str(self._at)))
        return told
