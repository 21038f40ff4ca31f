"""The mark in the environment of every process of an attempt: it is found by it whatever became of its parents."""

import os
from typing import NamedTuple, Self
from uuid import UUID

from worker.processes import PROC, entry_of, pids

VARIABLE = "CMAC_MARK"
ENOUGH = 2  # times that a process is asked for a mark


class Mark(NamedTuple):
    """Whose process this is. Loops and supervisors touch those of their own installation and node alone."""

    installation: str
    node: str
    attempt: UUID
    epoch: int
    part: int

    def __str__(self) -> str:
        return "/".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything but INSTALLATION/NODE/ATTEMPT/EPOCH/PART."""
        installation, node, attempt, epoch, part = text.split("/")
        return cls(installation, node, UUID(attempt), int(epoch), int(part))


def marked(installation: str, node: str) -> dict[int, Mark]:
    """The living processes of this installation and node that carry a mark, this process excepted."""
    found = {}
    for pid in pids():
        mark = mark_of(pid)
        if mark is not None and pid != os.getpid() and (mark.installation, mark.node) == (installation, node):
            found[pid] = mark
    return found


class Census:
    """Finds the marked processes of a node again and again. Who was seen twice without a mark is not asked once more.

    Twice, since a process takes its mark when it becomes another program, which follows its birth at once. A pid
    that is given again has another inode.
    """

    def __init__(self, installation: str, node: str) -> None:
        self._home = installation, node
        self._strangers: dict[int, tuple[int, int]] = {}  # pid: inode of its folder, and how often it was asked

    def take(self) -> dict[int, Mark]:
        """As `marked`."""
        found: dict[int, Mark] = {}
        strangers: dict[int, tuple[int, int]] = {}
        with os.scandir(PROC) as entries:
            there = {int(entry.name): entry.inode() for entry in entries if entry.name.isdecimal()}
        for pid, inode in there.items():
            known, asked = self._strangers.get(pid, (inode, 0))
            asked = asked if known == inode else 0
            mark = mark_of(pid) if asked < ENOUGH else None
            if mark is not None and (mark.installation, mark.node) == self._home:
                if pid != os.getpid():
                    found[pid] = mark
            else:
                strangers[pid] = inode, min(asked + 1, ENOUGH)
        self._strangers = strangers
        return found


def carrying(mark: Mark) -> list[int]:
    """The living processes of one part of an attempt, this process excepted."""
    return [pid for pid, other in marked(mark.installation, mark.node).items() if other == mark]


def mark_of(pid: int) -> Mark | None:
    """The mark of a process; None without one, when it has ended, or when it is somebody else's."""
    value = variable(pid, VARIABLE)
    try:
        return Mark.parse(value) if value and entry_of(pid) else None
    except ValueError:
        return None  # somebody else's variable of the same name


def variable(pid: int, name: str) -> str | None:
    """A variable of a process as it was started with; None without it, when it has ended, or is somebody else's."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    prefix = f"{name}=".encode()
    values = [entry[len(prefix) :] for entry in environment.split(b"\0") if entry.startswith(prefix)]
    return values[0].decode(errors="replace") if values else None
