"""One whole service for all system tests: embedded PostgreSQL and Redis, API, worker, in a home of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from client.processes import Daemon, marked
from cmac_core.specs import JOB_SPEC
from store import attempts, database, embedded, jobs, tries, verbs
from store.keys import Principal, Role
from store.settings import settings
from store.states import FINAL, JobState
from store.tables import Attempt, Job

T = TypeVar("T")

ADMIN = Principal("admin", Role.admin)  # the user of the first key

# Slow enough that a machine under load loses nobody, fast enough to wait for.
LEASE = "4/12/24/30"


@dataclass
class Service:
    """A running service, and hands to break it with."""

    home: Path

    def up(self) -> None:
        """As a person does it: in a process of its own. Starts what does not run."""
        _cmac("up", "--port", "0")

    def down(self) -> None:
        """The same; running jobs go on."""
        _cmac("down")

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "api.json").read_text())["url"])

    @property
    def key(self) -> str:
        return (self.home / "admin.key").read_text().strip()

    def submit(self, spec: dict[str, Any]) -> uuid.UUID:
        parsed = JOB_SPEC.validate_python(spec)
        return database.transact(lambda session: jobs.submit(session, parsed, ADMIN).id)

    def cancel(self, job: uuid.UUID) -> None:
        database.transact(lambda session: verbs.cancel(session, job, ADMIN))

    def job(self, job: uuid.UUID) -> Job:
        return self.read(lambda session: session.get_one(Job, job))

    def attempt(self, job: uuid.UUID) -> Attempt | None:
        return self.read(lambda session: tries.newest(session, job))

    def read(self, work: Callable[[Any], T]) -> T:
        with database.sessions() as session:
            return work(session)

    def folder(self, job: uuid.UUID, epoch: int = 1) -> Path:
        return settings().attempt_folder(job, epoch)

    def until(self, true: Callable[[], object], seconds: float) -> float:
        """Wait for it; how long it took. What the worker said last is shown when it does not come."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, self._daemon.tail(6000)
            time.sleep(0.1)
        return time.monotonic() - began

    def finished(self, *waited: uuid.UUID, seconds: float = 240) -> list[Job]:
        """These jobs, final."""
        self.until(lambda: all(self.job(job).state in FINAL for job in waited), seconds)
        return [self.job(job) for job in waited]

    def consumer(self) -> list[psutil.Process]:
        """Celery's main process and its pool."""
        return self._of_worker("consumer")

    def worker(self) -> list[psutil.Process]:
        """All processes of the worker; supervisors and trainings are none of them."""
        return self._of_worker("")

    def supervisor(self, job: uuid.UUID) -> psutil.Process:
        attempt = self.attempt(job)
        assert attempt is not None
        pid = self.read(
            lambda s: next(p.pid for p in attempts.live_parts(s, self.node) if p.lease.attempt == attempt.id)
        )
        assert pid is not None
        return psutil.Process(pid)

    @property
    def node(self) -> uuid.UUID:
        from worker import here

        node = self.read(here.node_id)
        assert node is not None
        return node

    def wipe_redis(self) -> None:
        """Stop it and lose all that it held."""
        assert embedded.stop_redis(settings())
        for file in (self.home / "redis").glob("appendonly*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self.home, "worker")

    def _of_worker(self, name: str) -> list[psutil.Process]:
        pid = self._daemon.pid
        assert pid is not None
        parent = psutil.Process(pid)
        children = [child for child in parent.children() if name in " ".join(child.cmdline())]
        return [*([] if name else [parent]), *children, *(pid for child in children for pid in child.children())]


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Started once; each test leaves it running."""
    with tempfile.TemporaryDirectory(prefix="cmac-system-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # root's PostgreSQL is another user
        for name in [name for name in os.environ if name.startswith("CMAC_")]:
            patch.delenv(name)
        patch.setenv("CMAC_HOME", folder)
        patch.setenv("CMAC_LEASE", LEASE)
        patch.setenv("CMAC_CPU_SLOTS", "3")  # a training and something beside it
        settings.cache_clear()
        database.forget()
        service = Service(Path(folder))
        try:
            service.up()
            yield service
        finally:
            service.down()
            for pid in marked(service.home):
                os.kill(pid, signal.SIGKILL)
            database.forget()
            settings.cache_clear()


@pytest.fixture(scope="session")
def tiny(service: Service) -> str:
    """A packed dataset of 16 generated clips."""
    spec = {
        "kind": "pack", "dataset": "tiny", "short_side": 48, "resources": {"cpu_slots": 1},
        "source": {"generate": "sounding-objects", "clips": 16, "classes": 2, "size": 48, "seconds": 1.5},
    }  # fmt: skip
    job = service.finished(service.submit(spec))[0]
    assert job.state == JobState.succeeded, job.detail
    return "tiny"


def _cmac(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "client", *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
