"""The machine's own locks: they hold where the database cannot be asked, and end with the process that has them."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Busy(Exception):
    """Another process of this node holds the lock."""


@contextmanager
def held(folder: Path, names: Iterable[str], patience: float) -> Iterator[None]:
    """Hold all of these locks; wait `patience` seconds for those that someone else still has.

    Children do not inherit them: only the supervisor's own end gives them free. Raises Busy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience
    with ExitStack() as stack:
        for name in sorted(names):  # in one order, so that two never wait for each other
            stack.enter_context(_lock(folder / f"{name}.lock", until))
        yield


@contextmanager
def _lock(file: Path, until: float) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _try(descriptor):
            if time.monotonic() > until:
                raise Busy(file.stem)
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
