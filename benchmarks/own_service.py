"""A service in a folder of its own, as `cmac up` starts it, for what has to be measured on the whole of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.full_lab import set_only
from client import Client
from client.local import LocalService


class OwnService:
    """A running one, and what it costs."""

    def __init__(self, home: Path, client: Client) -> None:
        self.home, self.client = home, client

    def processor_s(self) -> float:
        """Processor seconds of all that serves: API, loops, PostgreSQL, Redis, supervisors; not of runs."""
        return sum(_spent(process) for process in set(self._serving()))

    def _serving(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                told = " ".join(process.cmdline())
                ours = str(self.home) in told or process.environ().get("CMAC_HOME") == str(self.home)
            except psutil.Error:
                continue
            # PostgreSQL's backends name neither: their times come with their parent's.
            if ours and "cmac_core" not in told and process.pid != os.getpid():
                yield process
                if process.name() == "postgres":
                    yield from process.children()


@contextmanager
def own_service(**settings: str) -> Iterator[OwnService]:
    """Started with these CMAC_ settings and no others; stopped with all its jobs at the end."""
    before = {name: value for name, value in os.environ.items() if name.startswith("CMAC_")}
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))  # short: sockets have 107 characters
    home.chmod(0o755)  # root's PostgreSQL is another user
    set_only({"CMAC_HOME": str(home), **{f"CMAC_{name.upper()}": value for name, value in settings.items()}})
    service = LocalService(home)
    try:
        up = service.up(port=0)
        with Client(up.url, (home / "admin.key").read_text().strip()) as client:
            yield OwnService(home, client)
    finally:
        service.down(jobs=True)
        set_only(before)
        shutil.rmtree(home, ignore_errors=True)


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
