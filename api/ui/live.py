"""What keeps a page live: one event stream each."""

import time

from api.sse import Sent
from store import board
from store.database import sessions

_LOOK_S = 2.0


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
