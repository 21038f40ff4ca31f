"""The worker's parent: keeps its processes running, and none of them twice on one machine."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from math import inf

from worker.processes import boottime

log = logging.getLogger(__name__)

LONGEST_PAUSE = 10.0  # s between restarts of a process that ends at once
GOOD_RUN = 30.0  # s after which an end counts as the first again
FAREWELL = 15.0  # s to stop in; tasks last seconds


@dataclass
class Member:
    """One process, started again when it ends."""

    name: str
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = -inf
    failures: int = 0
    due: float = -inf

    def look(self, now: float) -> None:
        """Start it if it does not run and its turn has come."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.failures = 0 if now - self.started > GOOD_RUN else self.failures + 1
            self.due = now + min(LONGEST_PAUSE, 0.5 * 2.0**self.failures)
            log.warning("process ended", extra={"data": {"process": self.name, "code": code}})
            self.process = None
        if self.process is None and now >= self.due:
            self.process, self.started = self._start(), now

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def restart(self) -> None:
        """End it for sure; `look` starts it again."""
        if self.process is not None:
            self.process.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self.command, stdin=subprocess.DEVNULL)


@dataclass
class Household:
    """All processes of one worker, until SIGTERM or SIGINT. Trainings are none of them."""

    members: list[Member]
    stopping: bool = False

    def run(self, pause: float = 1.0) -> None:
        # A flag, no Event: its lock may be held by the very thread that the signal interrupts.
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._stop)
        while not self.stopping:
            for member in self.members:
                member.look(boottime())
            time.sleep(pause)
        self._say_goodbye()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _say_goodbye(self) -> None:
        log.info("stopping; trainings go on")
        for member in self.members:
            member.stop()
        until = boottime() + FAREWELL
        for member in self.members:
            if member.process is None:
                continue
            try:
                member.process.wait(max(0.1, until - boottime()))
            except subprocess.TimeoutExpired:
                log.warning("process does not stop; killed", extra={"data": {"process": member.name}})
                member.process.kill()
                member.process.wait()


def member(name: str) -> Member:
    """One of this package's own processes: `python -m worker NAME --parent PID`."""
    # -P: the folder that this was started in is not looked at for imports.
    return Member(name, [sys.executable, "-P", "-m", "worker", name, "--parent", str(os.getpid())])
