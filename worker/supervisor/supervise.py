"""The loop around a running child: look, tell, obey, until it has ended."""

import subprocess
import time
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from worker.patience import Unreachable
from worker.processes import boottime, reap
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

    look: float = 0.2
    quiet: float = inf  # then ask the run to save: another machine may soon own the job
    fence: float = inf  # then kill it: another machine may own the job


class End(NamedTuple):
    """How the child ended, and whether we killed it because nobody could tell us that it is still ours."""

    code: int | None
    self_fenced: bool = False


def supervise(child: "subprocess.Popen[bytes]", tick: Tick, leaving: Leaving, pace: Pace) -> End:
    """Stay with the child to its end. The caller reads what it wrote last: an end is seen before its last lines.

    Raises whatever the tick raises other than Unreachable; the child may then still run and is the caller's to kill.
    """
    heard = boottime()
    while (code := child.poll()) is None:
        reap(spare=child.pid)
        now = boottime()
        try:
            if (answer := tick()) is not None:
                heard = now if answer.confirmed else heard
                if answer.stop:
                    leaving.by(now + answer.grace)
        except Unreachable:  # no reason to stop, until another may own the devices
            if now - heard > pace.quiet:
                leaving.by(heard + pace.fence)
        if now - heard > pace.fence:
            kill_attempt(leaving.mark)
            return End(child.wait(), self_fenced=True)
        leaving.step(now)
        time.sleep(pace.look)
    return End(code)
