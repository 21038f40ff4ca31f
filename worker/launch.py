"""Start a supervisor so that neither a restart of this worker nor its death reaches the training."""

import os
import subprocess
import sys
from pathlib import Path

from worker import marks
from worker.marks import Mark


def start_supervisor(mark: Mark, folder: Path) -> None:
    """Detached, in a session of its own. Returns once it has forked, in a tenth of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "worker.supervisor", str(mark.attempt), str(mark.epoch), str(mark.part)]
    with (folder / (f"supervisor-{mark.part}.txt" if mark.part else "supervisor.txt")).open("ab") as log:
        # It forks once more and its first process leaves: the pool keeps no zombie.
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {marks.VARIABLE: str(mark)},  # a stopped one is found and ended like the rest
            start_new_session=True,
            check=True,
            timeout=30,
        )
