"""Work that is done again and again, whatever is away meanwhile."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.logs import bound

log = logging.getLogger(__name__)

LONGEST_PAUSE = 10.0  # s between tries while something is away


@dataclass
class Loop:
    """Calls `work` every `pause` seconds, or at once when woken, until stopped. A failure is logged and tried again."""

    name: str
    work: Callable[[], None]
    pause: float
    stopping: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    failures: int = 0  # in a row

    def run(self) -> None:
        with bound(loop=self.name):
            while not self.stopping.is_set():
                self.woken.clear()
                self._once()
                self.woken.wait(self.pause if not self.failures else min(LONGEST_PAUSE, 2.0 ** (self.failures - 2)))

    def wake(self) -> None:
        self.woken.set()

    def stop(self) -> None:
        self.stopping.set()
        self.woken.set()

    def _once(self) -> None:
        try:
            self.work()
        except Exception as error:  # a database restart, a full disk, a mistake of ours: none may end the loop
            self.failures += 1
            # The whole traceback once, then a line a try.
            log.error("failed; trying again: %s", _brief(error), exc_info=self.failures == 1)
        else:
            if self.failures:
                log.info("works again", extra={"data": {"failures": self.failures}})
            self.failures = 0


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
