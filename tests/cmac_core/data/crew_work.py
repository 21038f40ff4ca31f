"""What the processes of a test's crew do. In a file of its own, since they import it."""

import os
import signal
import time
from pathlib import Path

from cmac_core.data.crew import Alive
from cmac_core.data.pack_task import NoRoom, Outcome, PackTask, pack_one


def act(task: str, alive: Alive) -> str:
    """`crash`, `crash once PATH`, `hang`, `fail`, `beat`; anything else is answered in capitals."""
    alive()
    match task.split():
        case ["crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["crash", "once", path]:
            if not Path(path).exists():
                Path(path).touch()
                os._exit(3)
        case ["hang"]:
            time.sleep(60)
        case ["fail"]:
            raise ValueError("it failed")
        case ["beat"]:
            for _ in range(15):
                time.sleep(0.1)
                alive()
    return task.upper()


def pack_with_faults(task: PackTask, alive: Alive) -> Outcome:
    """Packs, but for two names: one kills its process as a decoder's bug would, one finds the disk full."""
    if "crash" in task.item.id:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "full" in task.item.id:
        raise NoRoom(28, "No space left on device")
    return pack_one(task, alive)
