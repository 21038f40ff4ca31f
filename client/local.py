"""This machine's own service: embedded database and broker, api and worker, started and stopped together.

Nothing of the server is imported: every part is a process of its own.
"""

import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2

from client.address import DEFAULT_URL
from client.address import home as default_home
from client.errors import BadInput, ServiceAway
from client.processes import Daemon, gone, marked, ranks, send

_READY_S = 90.0
_FIRST_KEY_S = 3.0
_SUPERVISOR_S = 20.0
_NEEDED = {"fastapi": "api", "uvicorn": "api", "sqlalchemy": "store", "celery": "store", "torch": "core", "av": "core"}

Say = Callable[[str], None]


class Up(NamedTuple):
    """Where the service is. `first_key` is the admin key when this start made it."""

    url: str
    started: bool
    first_key: str | None


class Running(NamedTuple):
    """What runs of a home."""

    url: str | None
    ready: str
    api: int | None
    worker: int | None
    embedded: dict[str, bool]
    job_processes: int


class LocalService:
    """The service whose data live in `home`."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()
        self.api = Daemon(self.home, "api")
        self.worker = Daemon(self.home, "worker")

    @property
    def url(self) -> str | None:
        """The address that the last `up` wrote."""
        try:
            return str(json.loads((self.home / "api.json").read_text())["url"])
        except (OSError, ValueError, KeyError):
            return None

    def up(self, port: int | None = None, say: Say = lambda _: None) -> Up:
        """Start what does not run. Raises BadInput for missing packages, ServiceAway with the log of what failed."""
        self._check_packages()
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            key_file = self.home / "admin.key"
            had_key = key_file.exists()
            self._run("store.embedded", "start", say="Starting PostgreSQL and Redis", tell=say)
            self._run("store.migrate", say="Migrating the database", tell=say)
            started = self.api.pid is None or self.worker.pid is None
            if self.api.pid is None:
                say("Starting the API")
                self._start_api(port)
            if self.worker.pid is None:
                say("Starting the worker")
                self.worker.start("worker", self._environment())
            self._await_ready()
            self._await_worker()
            return Up(str(self.url), started, None if had_key else _first_key(key_file))

    def down(self, *, jobs: bool = False, grace_s: float = 150.0, say: Say = lambda _: None) -> list[int]:
        """Stop worker, api and what is embedded. Running jobs go on without it; `jobs` saves and ends them too.

        Returns the processes of jobs that still run.
        """
        with self._alone():
            # The worker first, or it would start again what is asked to leave.
            if self.worker.stop(20.0):
                say("Stopped the worker")
            if jobs:
                self._stop_jobs(grace_s, say)
            if self.api.stop(15.0):
                say("Stopped the API")
            if self.home.exists():
                self._run("store.embedded", "stop", say="Stopping PostgreSQL and Redis", tell=say)
            return marked(self.home)

    def backup(self, file: Path, say: Say = lambda _: None) -> None:
        """Write the database into a file; the service may run meanwhile. Raises ServiceAway, BadInput."""
        self._check_packages()
        if not self.home.exists():
            raise BadInput(f"{self.home} is not there; CMAC_HOME names the home of the service")
        with self._alone():
            self._run("store.embedded", "start", say="Starting PostgreSQL and Redis", tell=say)
            self._run("store.backup", "save", str(file.absolute()), say="Saving", tell=say, limit_s=None)

    def restore(self, file: Path, say: Say = lambda _: None) -> None:
        """Fill the empty database of a stopped service from such a file. Raises ServiceAway, BadInput."""
        self._check_packages()
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            if self.api.pid is not None or self.worker.pid is not None:
                raise BadInput("the service runs; stop it first: cmac down --jobs")
            self._run("store.embedded", "start", say="Starting PostgreSQL and Redis", tell=say)
            self._run("store.backup", "restore", str(file.absolute()), say="Restoring", tell=say, limit_s=None)

    def status(self) -> Running:
        """What runs. Starts nothing."""
        embedded = self._embedded() if self.home.exists() else {}
        return Running(
            self.url, self._readiness(), self.api.pid, self.worker.pid, embedded, len(marked(self.home))
        )  # fmt: skip

    def _stop_jobs(self, grace_s: float, say: Say) -> None:
        running = marked(self.home)
        if not running:
            return
        say("Waiting for running jobs to save")
        deadline = time.monotonic() + grace_s
        alone_since: float | None = None
        asked: set[int] = set()
        while (running := marked(self.home)) and time.monotonic() < deadline:
            # A rank that is only just starting is asked once it has noted its pid.
            for pid in set(ranks(self.home, running)) - asked:
                asked.add(pid)
                send(pid, signal.SIGUSR1)
            if asked and not asked.intersection(running):
                # All have saved; a supervisor that cannot tell the database would wait for ever.
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > _SUPERVISOR_S:
                    break
            gone(running, 1.0)
        if running:
            say(f"Ending {len(running)} processes of jobs that are still there; the jobs go on from what was saved")
            for pid in running:
                send(pid, signal.SIGKILL)
            gone(running, 5.0)

    def _start_api(self, asked: int | None) -> None:
        port = _port(asked, self.url)
        url = f"http://127.0.0.1:{port}"
        self.api.start("api", self._environment() | {"CMAC_API_HOST": "127.0.0.1", "CMAC_API_PORT": str(port)})
        (self.home / "api.json").write_text(json.dumps({"url": url}))

    def _environment(self) -> dict[str, str]:
        return {"CMAC_HOME": str(self.home)}

    def _run(self, module: str, *arguments: str, say: str, tell: Say, limit_s: float | None = 180) -> None:
        tell(say)
        command = [sys.executable, "-P", "-m", module, *arguments]
        environment = {**os.environ, **self._environment()}
        try:
            done = subprocess.run(
                command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceAway(f"{module} did not end within {limit_s} s; see {self.home}") from error
        if done.returncode:
            raise ServiceAway(f"{say.lower()} failed:\n{(done.stderr or done.stdout).strip()[-1500:]}")

    def _embedded(self) -> dict[str, bool]:
        command = [sys.executable, "-P", "-m", "store.embedded", "status"]
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=60)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            return {}
        return {str(name): bool(runs) for name, runs in found.items()}

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self.api.pid is None:
                raise ServiceAway(f"the API ended at once. The end of {self.api.log}:\n{self.api.tail()}")
            if self._readiness().startswith("ready"):
                return
            time.sleep(0.2)
        raise ServiceAway(f"the API is not ready after {_READY_S:.0f} s. The end of {self.api.log}:\n{self.api.tail()}")

    def _await_worker(self) -> None:
        """Until this machine is registered: before that nothing can be submitted, since nothing could run it."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            pid = self.worker.pid
            if pid is None:
                raise ServiceAway(f"the worker ended at once. The end of {self.worker.log}:\n{self.worker.tail()}")
            if any(file.read_text() == str(pid) for file in self.home.glob("nodes/*/ready")):
                return
            time.sleep(0.1)
        raise ServiceAway(f"the worker is not ready after {_READY_S:.0f} s; see {self.worker.log}")

    def _readiness(self) -> str:
        """`ready`, or what hinders."""
        if self.url is None:
            return "not started"
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=3.0, trust_env=False)
        except httpx2.TransportError:
            return "away"
        if answer.status_code != 200:
            return f"not ready ({answer.status_code})"
        return "ready, degraded" if "degraded" in answer.text else "ready"

    def _check_packages(self) -> None:
        missing = {name: extra for name, extra in _NEEDED.items() if importlib.util.find_spec(name) is None}
        if missing:
            raise BadInput(
                f"this installation cannot run the service: {', '.join(missing)} missing. "
                "Install it with: pip install 'cmac-lab[api,worker,core]'"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two `cmac up` at once: the second waits, then finds everything running."""
        if not self.home.exists():
            yield
            return
        with (self.home / "local.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _first_key(file: Path) -> str | None:
    """The key that a first start leaves, once it is there; None for a database that had keys already."""
    deadline = time.monotonic() + _FIRST_KEY_S
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return file.read_text().strip() if file.exists() else None


def _port(asked: int | None, last_url: str | None) -> int:
    """The port asked for; else the last one, else 8300, else a free one."""
    wanted = asked if asked is not None else _number(os.environ.get("CMAC_API_PORT"))
    if wanted:
        if not _is_free(wanted):
            raise BadInput(f"port {wanted} is taken by another program; ask for another one, or leave --port out")
        return wanted
    urls = ([last_url] if last_url else []) + ([DEFAULT_URL] if wanted is None else [])
    for url in urls:
        port = httpx2.URL(url).port
        if port and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise BadInput(f"CMAC_API_PORT: {text!r} is not a port; 0 takes a free one")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
