"""Processes that outlive the command that started them: pid files, identity, an orderly end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PROC = Path("/proc")


class Daemon:
    """A program of the home: `name`.pid says which process it is, logs/`name`.log what it said."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.pid_file = home / f"{name}.pid"
        self.log = home / "logs" / f"{name}.log"
        self._home = home
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The living process, None when it does not run. A reused pid is told by its start time."""
        if self._child is not None:
            self._child.poll()  # a dead child of ours would stay a zombie
        try:
            noted = json.loads(self.pid_file.read_text())
            pid, start = int(noted["pid"]), noted["start"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if is_alive(pid) and started_at(pid) == start else None

    def start(self, module: str, environment: Mapping[str, str]) -> None:
        """Start `python -m module` in a session of its own: neither Ctrl-C nor a closed terminal reaches it.

        -P: the home has folders named as packages are (redis), and must not be looked at for imports.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                cwd=self._home,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        noted = {"pid": self._child.pid, "start": started_at(self._child.pid)}
        self.pid_file.write_text(json.dumps(noted))

    def stop(self, grace_s: float) -> bool:
        """SIGTERM, and SIGKILL after `grace_s` seconds. False when it did not run."""
        pid = self.pid
        if pid is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        send(pid, signal.SIGTERM)
        if not gone([pid], grace_s):
            send(pid, signal.SIGKILL)
            gone([pid], 5.0)
        self.pid_file.unlink(missing_ok=True)
        return True

    def tail(self, characters: int = 1500) -> str:
        """The end of its log."""
        try:
            return self.log.read_text(errors="replace")[-characters:].strip()
        except OSError:
            return ""


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid)[:1] not in (["Z"], ["X"])


def started_at(pid: int) -> str | None:
    """Clock ticks from boot to the start of a process; None where /proc does not say."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else None


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def gone(pids: Sequence[int], within_s: float) -> bool:
    """Wait until none of these processes lives. False when one still does after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while any(is_alive(pid) and not _reaped(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def marked(home: Path) -> list[int]:
    """Processes of running jobs of this home, by the mark in their environment (`CMAC_MARK`)."""
    try:
        prefix = b"CMAC_MARK=" + (home / "installation").read_bytes().strip() + b"/"
    except OSError:
        return []
    found = []
    for entry in PROC.glob("[0-9]*/environ"):
        try:
            if any(line.startswith(prefix) for line in entry.read_bytes().split(b"\0")):
                found.append(int(entry.parent.name))
        except OSError:  # it ended, or is another user's
            continue
    return [pid for pid in found if pid != os.getpid() and is_alive(pid)]


def ranks(home: Path, pids: Sequence[int]) -> list[int]:
    """Those of these processes that train or evaluate: each wrote its pid once it could be asked to leave."""
    noted = set()
    for file in (home / "jobs").glob("*/epoch-*/rank-*.pid"):
        text = file.read_text().strip()
        if text.isdecimal():
            noted.add(int(text))
    return [pid for pid in pids if pid in noted]


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False  # not ours to reap


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before it may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
