"""Small real things for the worker's tests: child programs, a database, a machine of its own, real supervisors."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from cmac_core.specs import JOB_SPEC
from store import attempts, database, embedded, jobs, keys, migrate, verbs
from store.fence import Lease
from store.keys import SYSTEM
from store.settings import settings
from store.states import FINAL
from store.tables import Attempt, Device, Job, Part, User
from worker import here, marks
from worker.marks import Mark, carrying
from worker.processes import kill_all

T = TypeVar("T")
Spawn = Callable[[str], "subprocess.Popen[bytes]"]

PACK = {
    "kind": "pack", "dataset": "tiny", "source": {"generate": "sounding-objects", "clips": 8},
    "resources": {"cpu_slots": 1},
}  # fmt: skip

# Every child program begins with this: a run that speaks as the core does.
RUN = """
import os, signal, sys, time
from pathlib import Path
from cmac_core.events import *
folder = Path(sys.argv[1])
number = int(sys.argv[2])  # of the rank
log = EventLog(folder) if number == 0 else None
def say(event):
    if log: log.write(event)
def leaving(*_):
    say(Ended(outcome="left")); sys.exit(75)
def rank():
    signal.signal(signal.SIGUSR1, leaving); signal.signal(signal.SIGTERM, leaving)
    draft = folder / f"{number}.tmp"
    draft.write_text(str(os.getpid())); os.rename(draft, folder / f"rank-{number}.pid")
say(Started(spec={}, versions={}, world_size=1))
"""

SUPERVISOR = """
import sys, uuid
from store.fence import Lease
from worker import logs
from worker.supervisor.run import attend
logs.set_up()
attempt, epoch, part, program = sys.argv[1:]
def core(kind, ranks, spec, folder, meeting):
    return ["env", f"RANK={part}", sys.executable, program, str(folder), part]
attend(Lease(uuid.UUID(attempt), int(epoch), int(part)), core)
"""


@dataclass
class Stage:
    """One node. All that was started here is gone when the test ends."""

    folder: Path
    node: uuid.UUID
    jobs: list[uuid.UUID] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def submit(self, **changes: Any) -> uuid.UUID:
        spec = JOB_SPEC.validate_python(PACK | changes)
        job = database.transact(lambda session: jobs.submit(session, spec, SYSTEM).id)
        self.jobs.append(job)
        return job

    def place(self, job: uuid.UUID) -> Lease:
        def work(session: Any) -> Lease | None:
            free = select(Device).where(Device.node_id == self.node, Device.kind == "cpu").order_by(Device.index)
            return attempts.place(session, job, [(self.node, session.scalars(free).all()[:1])])

        lease = database.transact(work)
        assert lease is not None
        self.leases.append(lease)
        return lease

    def claim(self, lease: Lease) -> None:
        assert database.transact(lambda session: attempts.claim(session, lease.attempt, lease.epoch, self.node))

    def supervise(self, lease: Lease, program: str, **settings: str) -> "subprocess.Popen[bytes]":
        """A real supervisor, in a process of its own, with this program in the core's place."""
        file = self.folder / f"{uuid.uuid4().hex}.py"
        file.write_text(RUN + program)
        arguments = [str(lease.attempt), str(lease.epoch), str(lease.part), str(file)]
        env = os.environ | {marks.VARIABLE: str(here.mark(lease))} | settings
        with (self.folder / "supervisor.txt").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, *arguments], env=env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def run(self, program: str, **changes: Any) -> tuple[uuid.UUID, Lease, "subprocess.Popen[bytes]"]:
        """Submit, place, claim, supervise."""
        job = self.submit(**changes)
        lease = self.place(job)
        self.claim(lease)
        return job, lease, self.supervise(lease, program)

    def job(self, job: uuid.UUID) -> Job:
        return self.read(lambda session: session.get_one(Job, job))

    def attempt(self, lease: Lease) -> Attempt:
        return self.read(lambda session: session.get_one(Attempt, lease.attempt))

    def part(self, lease: Lease) -> Part:
        return self.read(lambda session: session.get_one(Part, (lease.attempt, lease.part)))

    def read(self, work: Callable[[Any], T]) -> T:
        with database.sessions() as session:
            return work(session)

    def folder_of(self, job: uuid.UUID, epoch: int = 1) -> Path:
        return settings().attempt_folder(job, epoch)

    @contextmanager
    def database_away(self) -> Iterator[None]:
        assert embedded.stop_postgres(settings())
        try:
            yield
        finally:
            embedded.start_postgres(settings(), durable=False)

    def log(self) -> str:
        file = self.folder / "supervisor.txt"
        return file.read_text() if file.exists() else ""

    def until(self, true: Callable[[], object], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def clear(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for lease in self.leases:
            mark = here.mark(lease)
            assert kill_all(lambda: carrying(mark))  # noqa: B023
        for job in self.jobs:  # or they would wait in the next test's queue
            if self.job(job).state not in FINAL:
                database.transact(lambda session: verbs.cancel(session, job, SYSTEM))  # noqa: B023


@pytest.fixture
def mark() -> Mark:
    """A mark that no other test has."""
    return Mark(uuid.uuid4().hex, "here", uuid.uuid4(), 1, 0)


@pytest.fixture
def spawn(mark: Mark, tmp_path: Path) -> Iterator[Spawn]:
    """Start a Python program with the mark, in the test's folder, in a session of its own as torchrun's ranks are."""
    children = []

    def start(program: str) -> "subprocess.Popen[bytes]":
        env = os.environ | {marks.VARIABLE: str(mark)}
        command = [sys.executable, "-c", program]
        with (tmp_path / "log.txt").open("ab") as log:
            child = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        children.append(child)
        return child

    yield start
    assert kill_all(lambda: marks.carrying(mark))
    for child in children:
        child.wait()


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home with a real PostgreSQL; times are a twentieth of the usual ones."""
    with tempfile.TemporaryDirectory(prefix="cmac-worker-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # root's PostgreSQL is another user
        for name in [name for name in os.environ if name.startswith("CMAC_")]:
            patch.delenv(name)
        patch.setenv("CMAC_HOME", folder)
        patch.setenv("CMAC_LEASE", "0.5/1.5/3/4")
        patch.setenv("CMAC_CPU_SLOTS", "2")
        settings.cache_clear()
        embedded.start_postgres(settings(), durable=False)
        database.forget()
        migrate.upgrade(database.engine())
        with database.sessions.begin() as session:
            keys.bootstrap(session)
            session.execute(insert(User).values(name=keys.SYSTEM.user, role="admin").on_conflict_do_nothing())
        yield Path(folder)
        database.forget()
        embedded.stop_postgres(settings())
        settings.cache_clear()


@pytest.fixture
def stage(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A node that no other test has."""
    monkeypatch.setenv("CMAC_NODE_NAME", f"node-{uuid.uuid4().hex[:8]}")
    settings.cache_clear()
    with database.sessions.begin() as session:
        node = here.register(session).id
    stage = Stage(tmp_path, node)
    yield stage
    stage.clear()
    settings.cache_clear()
