"""What Linux knows about processes: who is who, whose child, and how to end them all."""

import ctypes
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


class Identity(NamedTuple):
    """A process for certain: a pid alone is given again to another one, here or in another container."""

    pid: int
    start: int  # ticks since boot
    pid_ns: int  # inode
    boot_id: str


class Ends:
    """Waits for any of some living processes to end."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._poll = select.poll()
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Whether one has ended, within the time."""
        return bool(self._poll.poll(1000 * seconds))


@contextmanager
def ends(pids: Iterable[int]) -> Iterator[Ends]:
    """Of these processes. Raises ProcessLookupError for one that is not there."""
    with ExitStack() as stack:
        descriptors = []
        for pid in pids:
            descriptors.append(os.pidfd_open(pid))
            stack.callback(os.close, descriptors[-1])
        yield Ends(descriptors)


class Entry(NamedTuple):
    """A line of the process table."""

    parent: int
    start: int
    state: str


def boottime() -> float:
    """Seconds since boot, counted through suspends and untouched by anyone's setting of the clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> int:
    return (PROC / "self/ns/pid").stat().st_ino


def identify(pid: int) -> Identity:
    """The identity of a living process. Raises ProcessLookupError when there is none."""
    entry = entry_of(pid)
    if entry is None:
        raise ProcessLookupError(pid)
    return Identity(pid, entry.start, pid_namespace(), boot_id())


def lives(identity: Identity) -> bool:
    """Whether this very process is still there; one that has ended and waits to be reaped is not."""
    if (identity.boot_id, identity.pid_ns) != (boot_id(), pid_namespace()):
        return False
    entry = entry_of(identity.pid)
    return entry is not None and entry.start == identity.start


def entry_of(pid: int) -> Entry | None:
    """The process table's line of a process, None for one that has ended (reaped or not)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold brackets and spaces itself: cut behind the last one.
    fields = text[text.rindex(")") + 2 :].split()
    entry = Entry(parent=int(fields[1]), start=int(fields[19]), state=fields[0])
    return None if entry.state in "ZX" else entry


def pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on, that have not ended."""
    children = defaultdict(list)
    for other in pids():
        if (entry := entry_of(other)) is not None:
            children[entry.parent].append(other)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        found += children[waiting[-1]]
        waiting += children[waiting.pop()]
    return found


def become_subreaper() -> None:
    """Orphans below this process become its children, not those of process 1, so that none gets away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def dying_with(parent: int, sign: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the child gets the signal when the thread that forked it ends. Main thread only."""

    def bind() -> None:
        _prctl(_PR_SET_PDEATHSIG, sign)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), sign)

    return bind


def reap(spare: int) -> None:
    """Collect orphans that have ended. The child `spare` is left to its Popen, which else loses the exit code."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid == spare:
                return  # in front of the others; they get their turn once it has been polled
            os.waitpid(ended.si_pid, os.WNOHANG)


def send(pid: int, sign: signal.Signals) -> None:
    """Signal a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, sign)


def kill_all(find: Callable[[], list[int]], patience: float = 20.0) -> bool:
    """SIGKILL whatever `find` finds until it finds nothing; False when some are still there after `patience` s.

    Groups and parents do not help: torchrun gives each rank a group of its own. What survives SIGKILL sits in the
    kernel (a driver, a dead network mount), and its device is not empty.
    """
    until = boottime() + patience
    while found := find():
        for pid in found:
            send(pid, signal.SIGKILL)
        if boottime() > until:
            return False
        time.sleep(0.02)
    return True


def default_signals() -> None:
    """Undo what a parent may have left: ignored and blocked signals outlive exec, and Celery's pool ignores some."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
