"""How a run is asked to save and leave, and made to when it does not."""

import os
import signal
import subprocess
import threading
from math import inf
from pathlib import Path

from worker.marks import Mark, carrying, mark_of, variable
from worker.processes import descendants, kill_all, send

RANK_FILES = "rank-*.pid"


class Leaving:
    """SIGUSR1 to the ranks; at the deadline SIGTERM to the child; `patience` seconds later SIGKILL to all."""

    def __init__(self, child: "subprocess.Popen[bytes]", folder: Path, mark: Mark, patience: float = 10.0) -> None:
        self.child, self.folder, self.mark, self.patience = child, folder, mark, patience
        self.deadline = inf
        self._asked: set[int] = set()
        self._told = False
        self._stepping = threading.Lock()  # the loop steps, and who watches over it

    @property
    def begun(self) -> bool:
        return self.deadline < inf

    def by(self, deadline: float) -> None:
        """Begin, or hurry: a later wish never gives more time than an earlier one."""
        self.deadline = min(self.deadline, deadline)

    def step(self, now: float) -> None:
        """Do what is due. Called again and again: the loop must go on, heartbeats are due while a run saves."""
        if not self.begun:
            return
        with self._stepping:
            self._ask()
            if now > self.deadline and not self._told:
                self._told = True
                self.child.terminate()
            if now > self.deadline + self.patience:
                kill_attempt(self.mark)

    def _ask(self) -> None:
        """Ranks alone: SIGUSR1 would kill torchrun."""
        for pid in ranks(self.folder, self.mark):
            if pid not in self._asked:
                self._asked.add(pid)
                send(pid, signal.SIGUSR1)


def ranks(folder: Path, mark: Mark) -> list[int]:
    """Pids of this machine's ranks that may be sent signals: each writes its file once its handlers are in place."""
    files = [(file, file.read_text().strip()) for file in sorted(folder.glob(RANK_FILES))]
    return [int(text) for file, text in files if text.isdecimal() and _is_rank(int(text), file, mark)]


def _is_rank(pid: int, file: Path, mark: Mark) -> bool:
    """Whether the file is this machine's: another one's pid may be that of our torchrun, or of ourselves."""
    alone = "0" if mark.part == 0 else None  # a run of one process has no RANK, and one part
    return mark_of(pid) == mark and (variable(pid, "RANK") or alone) == file.stem.removeprefix("rank-")


def kill_attempt(mark: Mark) -> bool:
    """End every process of the attempt, this one excepted; False when one cannot be ended."""
    return kill_all(lambda: sorted({*carrying(mark), *descendants(os.getpid())}))
