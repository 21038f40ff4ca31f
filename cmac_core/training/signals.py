"""Being asked to leave: SIGUSR1, SIGTERM and Ctrl-C set a flag; SIGUSR2 prints all stacks. No torch here."""

import faulthandler
import os
import signal
from pathlib import Path
from types import FrameType

ASK = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Raised by a signal, read at the next point where the run can leave."""

    def __init__(self) -> None:
        self.raised = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.raised:
            raise KeyboardInterrupt  # a person who insists
        self.raised = True

    def listen(self) -> None:
        """Take the signals of this process. Main thread only."""
        for number in ASK:
            signal.signal(number, self)
        faulthandler.register(signal.SIGUSR2, all_threads=True)


def write_pid_file(folder: Path, rank: int) -> None:
    """Say where signals go, once they are safe to send: rank-<r>.pid, appearing whole."""
    draft = folder / f".rank-{rank}.pid"
    draft.write_text(f"{os.getpid()}\n")
    draft.replace(folder / f"rank-{rank}.pid")


def ignore_in_worker() -> None:
    """A loader worker outlives the signals its rank gets: torchrun sends them to the whole group."""
    for number in ASK:
        signal.signal(number, signal.SIG_IGN)
