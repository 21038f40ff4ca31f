"""The loop around a running child: look, tell, obey, until it has ended."""

import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from worker.patience import Unreachable
from worker.processes import boottime, ends, reap
from worker.supervisor.leaving import Leaving, kill_attempt


class Answer(NamedTuple):
    """What is wanted of the attempt. `grace`: seconds that it has left to save, from now on."""

    stop: bool
    grace: float = inf
    confirmed: bool = True  # as a heartbeat: nobody will give the attempt up for a while


class Tick(Protocol):
    def __call__(self) -> Answer | None:
        """Tell what is new and hear what is wanted; None when nothing was due. Raises Unreachable or Fenced."""


@dataclass(frozen=True)
class Pace:
    """Seconds. `quiet` and `fence` count from the sending of the last heartbeat that was confirmed."""

    look: float = 1.0  # the end of the run is seen at once
    quiet: float = inf  # then ask the run to save: another machine may soon own the job
    fence: float = inf  # then kill it: another machine may own the job


class End(NamedTuple):
    """How the child ended, and whether we killed it because nobody could tell us that it is still ours."""

    code: int | None
    self_fenced: bool = False


class Fence:
    """Sees to `quiet` and `fence` from a thread of its own.

    A database that hangs keeps the loop waiting for an answer, and the run must be gone by then all the same.
    """

    def __init__(self, leaving: Leaving, pace: Pace) -> None:
        self.leaving, self.pace = leaving, pace
        self.heard = boottime()
        self.fell = False
        self._looked = self._excused = boottime()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fence")

    def _watch(self) -> None:
        pause = min(1.0, self.pace.fence / 20)
        while not self._over.wait(pause):
            now = boottime()
            if now - self._looked > self.pace.fence / 4:  # this process stood still: let the loop ask first
                self._excused = now + self.pace.fence / 20
            self._looked = now
            if now > self._excused and self._guard(now - self.heard, now):
                return

    def _guard(self, silent: float, now: float) -> bool:
        if silent > self.pace.fence:
            self.fell = True
            kill_attempt(self.leaving.mark)
        elif silent > self.pace.quiet:
            self.leaving.by(self.heard + self.pace.fence)
            self.leaving.step(now)
        return self.fell

    def __enter__(self) -> Self:
        if self.pace.fence < inf:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()


def supervise(child: "subprocess.Popen[bytes]", tick: Tick, leaving: Leaving, pace: Pace) -> End:
    """Stay with the child to its end. The caller reads what it wrote last: an end is seen before its last lines.

    Raises whatever the tick raises other than Unreachable; the child may then still run and is the caller's to kill.
    """
    with Fence(leaving, pace) as fence, ends([child.pid]) as ended:
        while (code := child.poll()) is None:
            reap(spare=child.pid)
            now = boottime()
            with suppress(Unreachable):  # no reason to stop, until another may own the devices
                if (answer := tick()) is not None:
                    fence.heard = now if answer.confirmed else fence.heard
                    if answer.stop:
                        leaving.by(now + answer.grace)
            if now - fence.heard <= pace.fence:  # else it is the fence's
                leaving.step(now)
            ended.wait(pace.look)
    return End(code, self_fenced=fence.fell)
