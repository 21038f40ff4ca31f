"""Two machines for real: hosts in network namespaces, each with its worker; one database and one Redis beyond a bridge.

One training runs on both. What is pulled is a cable, and a machine that is killed is cut off first: it says no goodbye.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from cmac_core.specs import JOB_SPEC
from store import database, embedded, jobs, keys, migrate, tries, verbs
from store.keys import SYSTEM
from store.settings import settings
from store.states import FINAL, JobState
from store.tables import Attempt, Checkpoint, Job, Node, User
from worker.marks import mark_of
from worker.processes import send

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

T = TypeVar("T")

SHORT = 7.0  # s without a cable: with a heartbeat before and a connection after it, less than 0.7 of the fence
LEASE = "4/12/24/30"  # slow enough that a machine under load loses nobody
LONG = 240.0  # s that nothing takes on a machine with nothing else to do


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass
class Host:
    """A network namespace with an address, a cable to the bridge, and a worker."""

    name: str
    number: int
    lan: "Lan"
    worker: "subprocess.Popen[bytes] | None" = None

    @property
    def namespace(self) -> str:
        return f"{self.lan.bridge}-{self.name}"

    @property
    def cable(self) -> str:
        return f"{self.lan.bridge}{self.name}"

    @property
    def address(self) -> str:
        return f"{self.lan.net}.{self.number}"

    def plug(self) -> None:
        inside = ("-n", self.namespace)
        ip("netns", "add", self.namespace)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", self.cable, "master", self.lan.bridge, "up")
        ip(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip(*inside, "link", "set", "eth0", "up")
        ip(*inside, "link", "set", "lo", "up")

    def start(self) -> None:
        more = {"CMAC_NODE_NAME": self.name, "CMAC_CPU_SLOTS": "1"}
        more |= {
            "CMAC_DATABASE_URL": embedded.database_url(settings()),
            "CMAC_BROKER_URL": embedded.broker_url(settings()),
        }
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-P", "-m", "worker"]
        env = {key: value for key, value in os.environ.items() if key != "CMAC_LISTEN"} | more
        with (self.lan.home / f"{self.name}.txt").open("ab") as log:
            self.worker = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pids(self) -> list[int]:
        return [int(pid) for pid in ip("netns", "pids", self.namespace).split()]

    def of_jobs(self) -> list[int]:
        """Supervisors, launchers and ranks."""
        return [pid for pid in self.pids() if mark_of(pid)]

    def ranks(self) -> list[int]:
        command = [(pid, Path(f"/proc/{pid}/cmdline")) for pid in self.of_jobs()]
        return [pid for pid, file in command if file.exists() and b"cmac_core" in file.read_bytes()]

    def cut(self) -> None:
        ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        ip("link", "set", self.cable, "up")

    def kill(self) -> None:
        while pids := self.pids():
            for pid in pids:
                send(pid, signal.SIGKILL)
            if self.worker is not None:
                self.worker.wait()
            time.sleep(0.05)


@dataclass
class Lan:
    """The bridge, what is embedded at its address, and two hosts."""

    home: Path
    bridge: str = field(default_factory=lambda: f"cm{uuid.uuid4().hex[:5]}")
    net: str = field(default_factory=lambda: f"10.{64 + uuid.uuid4().int % 64}.{uuid.uuid4().int % 256}")

    def __post_init__(self) -> None:
        self.a, self.b = Host("a", 2, self), Host("b", 3, self)

    def submit(self, spec: dict[str, Any]) -> uuid.UUID:
        parsed = JOB_SPEC.validate_python(spec)
        return database.transact(lambda session: jobs.submit(session, parsed, SYSTEM).id)

    def read(self, work: Callable[[Any], T]) -> T:
        with database.sessions() as session:
            return work(session)

    def job(self, job: uuid.UUID) -> Job:
        return self.read(lambda session: session.get_one(Job, job))

    def attempt(self, job: uuid.UUID) -> Attempt:
        found = self.read(lambda session: tries.newest(session, job))
        assert found is not None
        return found

    def saved(self, job: uuid.UUID, epoch: int) -> int:
        mine = select(func.count()).where(Checkpoint.job_id == job, Checkpoint.epoch == epoch)
        return self.read(lambda session: session.scalar(mine)) or 0

    def until(self, true: Callable[[], object], seconds: float) -> float:
        """Wait for it; how long it took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, self.log()
            time.sleep(0.1)
        return time.monotonic() - began

    def goes_on(self, job: uuid.UUID, after: int) -> None:
        """From its checkpoint, in an attempt later than epoch `after`."""
        self.until(lambda: self.job(job).epoch > after and self.saved(job, self.job(job).epoch), LONG)
        assert self.attempt(job).resume_step, self.log()

    def log(self) -> str:
        files = [*self.home.glob("*.txt"), *self.home.glob("jobs/*/*/*.txt")]
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-2500:]}" for file in files)


def no_namespaces() -> str | None:
    """Why this machine cannot have hosts of its own; None when it can."""
    probe = f"cm{uuid.uuid4().hex[:8]}"
    try:
        ip("netns", "add", probe)
        ip("netns", "del", probe)
    except FileNotFoundError:
        return "iproute2 is not installed"
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"
    return None


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if reason := no_namespaces():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="cmac-hosts-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # root's PostgreSQL is another user
        for name in [name for name in os.environ if name.startswith("CMAC_")]:
            patch.delenv(name)
        lan = Lan(Path(folder))
        ip("link", "add", "name", lan.bridge, "type", "bridge")
        try:
            ip("addr", "add", f"{lan.net}.1/24", "dev", lan.bridge)
            ip("link", "set", lan.bridge, "up")
            patch.setenv("CMAC_HOME", folder)
            patch.setenv("CMAC_LISTEN", f"{lan.net}.1")
            patch.setenv("CMAC_LEASE", LEASE)
            settings.cache_clear()
            database.forget()
            embedded.start_postgres(settings(), durable=False)
            embedded.start_redis(settings())
            migrate.upgrade(database.engine())
            with database.sessions.begin() as session:
                keys.bootstrap(session)
                session.execute(insert(User).values(name=SYSTEM.user, role="admin").on_conflict_do_nothing())
            for host in (lan.a, lan.b):
                host.plug()
                host.start()
            yield lan
        finally:
            for host in (lan.a, lan.b):
                if host.namespace in ip("netns", "list"):
                    host.kill()
                    ip("netns", "del", host.namespace)
            database.forget()
            embedded.stop_redis(settings())
            embedded.stop_postgres(settings())
            ip("link", "del", lan.bridge)
            settings.cache_clear()


@pytest.fixture(scope="module")
def training(lan: Lan) -> uuid.UUID:
    """One rank on each host, longer than the tests last."""
    lan.until(lambda: lan.read(lambda session: session.scalar(select(func.count()).select_from(Node))) == 2, LONG)
    pack = lan.submit({
        "kind": "pack", "dataset": "tiny", "short_side": 48, "resources": {"cpu_slots": 1},
        "source": {"generate": "sounding-objects", "clips": 16, "classes": 2, "size": 48, "seconds": 1.5},
    })  # fmt: skip
    lan.until(lambda: lan.job(pack).state in FINAL, LONG)
    assert lan.job(pack).state is JobState.succeeded, lan.job(pack).detail
    return lan.submit({
        "kind": "pretrain", "dataset": "tiny", "scale": "small", "resources": {"cpu_slots": 2, "nodes": 2},
        "data": {"frames": 4, "fps": 8, "crop": 32, "short_side": [32, 40], "workers": 0},
        "model": {"width": 4, "head": {"dim": 16}, "saliency": {"hidden": 8}, "bn_group": 4},
        "moco": {"K": 16}, "optim": {"batch": 8, "epochs": 100_000, "warmup_epochs": 0},
        "checkpoints": {"every_epochs": 2, "keep": 2},
    })  # fmt: skip


def test_a_training_runs_on_both_through_the_barrier(lan: Lan, training: uuid.UUID) -> None:
    lan.until(lambda: lan.saved(training, lan.job(training).epoch), LONG)
    attempt = lan.attempt(training)
    assert attempt.world_size == 2
    assert (attempt.rdzv_endpoint or "").startswith(f"{lan.a.address}:")
    assert lan.a.ranks()
    assert lan.b.ranks()


def test_a_host_that_is_cut_off_for_a_moment_loses_nothing(lan: Lan, training: uuid.UUID) -> None:
    job = lan.job(training)
    lan.b.cut()
    time.sleep(SHORT)
    lan.b.heal()
    saved = lan.saved(training, job.epoch)
    lan.until(lambda: lan.saved(training, job.epoch) > saved, LONG)
    after = lan.job(training)
    assert (after.state, after.epoch, after.infra_restarts) == (JobState.running, job.epoch, 0), lan.log()


def test_a_host_that_stays_cut_off_ends_its_part_itself_and_the_job_goes_on_later(
    lan: Lan, training: uuid.UUID, record_testsuite_property: Any
) -> None:
    job = lan.job(training)
    lan.b.cut()
    began = time.monotonic()
    lan.until(lambda: not lan.b.ranks(), LONG)
    record_testsuite_property("fenced_s", round(time.monotonic() - began, 1))
    lan.until(lambda: lan.job(training).state is JobState.queued, LONG)
    record_testsuite_property("given_up_s", round(time.monotonic() - began, 1))
    assert lan.attempt(training).reason == "worker_lost"
    lan.until(lambda: not lan.a.of_jobs(), LONG)
    lan.b.heal()
    lan.goes_on(training, job.epoch)
    after = lan.job(training)
    assert (after.infra_restarts, after.user_restarts) == (1, 0), lan.log()


def test_a_host_that_dies_costs_one_restart_and_all_ranks_obey_the_end(lan: Lan, training: uuid.UUID) -> None:
    job = lan.job(training)
    lan.b.cut()
    lan.b.kill()
    lan.until(lambda: lan.job(training).state is JobState.queued, LONG)
    lan.until(lambda: not lan.a.of_jobs(), LONG)
    lan.b.heal()
    lan.b.start()
    lan.goes_on(training, job.epoch)
    after = lan.job(training)
    assert (after.infra_restarts, after.user_restarts) == (2, 0), lan.log()
    database.transact(lambda session: verbs.cancel(session, training, SYSTEM))
    lan.until(lambda: lan.job(training).state in FINAL, LONG)
    assert lan.job(training).state is JobState.cancelled
    lan.until(lambda: not (lan.a.of_jobs() or lan.b.of_jobs()), LONG)
