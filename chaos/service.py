"""A whole service with several machines on this one, and hands on every process of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import httpx2
import psutil
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from client.processes import Daemon
from cmac_core.data.manifest import MANIFEST, sha256_of
from store import database, embedded, queue
from store.leaders import RECONCILER, SCHEDULER
from store.settings import settings
from store.states import NodeState
from store.tables import Dataset, Leader, Node
from worker.marks import Mark, marked
from worker.processes import kill_all

ROOT = Path(__file__).parents[1]
STAND_IN = Path(__file__).parent / "stand_in"
NODES = ("left", "right")
ENVIRONMENT = {
    "CMAC_CPU_SLOTS": "2",
    "CMAC_MIN_FREE_MB": "64",
    "CMAC_ON_PARTITION": "fence",
}
START_S = 180.0
POOL = 2  # processes beside the consumer's first


class Service:
    """API, PostgreSQL, Redis and a worker a node, each with control loops, node loop and consumer, in one home.

    `environment`: settings beside those of every such service; `stand_ins`: folders with modules that its workers find
    before all others. Whoever keeps services running (systemd, a person) is played here: `mend` starts what has ended.
    """

    def __init__(
        self,
        home: Path,
        lease: str,
        nodes: Sequence[str] = NODES,
        environment: Mapping[str, str] = MappingProxyType({}),
        stand_ins: Sequence[Path] = (STAND_IN,),
    ) -> None:
        self.home, self.lease, self.nodes = home, lease, tuple(nodes)
        self.environment, self.stand_ins = ENVIRONMENT | dict(environment), tuple(stand_ins)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.api = Daemon(home, "api")
        self.workers = {node: Daemon(home, f"worker-{node}") for node in self.nodes}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """Of the first user."""
        return (self.home / "admin.key").read_text().strip()

    def start(self) -> None:
        """Everything, from an empty home on. Raises RuntimeError when it does not come up."""
        for name in [name for name in os.environ if name.startswith("CMAC_")]:
            del os.environ[name]
        os.environ |= self.environment | {"CMAC_HOME": str(self.home), "CMAC_LEASE": self.lease}
        settings.cache_clear()
        embedded.start_postgres(settings())
        embedded.start_redis(settings())
        database.forget()
        subprocess.run([sys.executable, "-m", "store.migrate"], cwd=ROOT, check=True, capture_output=True, timeout=180)
        self.mend()
        if not self.until(lambda: (self.home / "admin.key").exists() and self.is_whole(), START_S):
            raise RuntimeError(f"the service does not come up:\n{self.api.tail()}\n{self.tail()}")

    def stop(self) -> None:
        """Everything, and the jobs' processes too."""
        self.wake()
        for daemon in (*self.workers.values(), self.api):
            daemon.stop(15.0)
        kill_all(lambda: list(self.marks()))
        database.forget()
        embedded.stop_redis(settings())
        embedded.stop_postgres(settings())

    def mend(self) -> None:
        """Start what does not run, let go on what is stopped."""
        self.wake()
        embedded.start_postgres(settings())
        embedded.start_redis(settings())
        self.start_api()
        for node in self.nodes:
            self.start_worker(node)

    def start_api(self) -> None:
        if self.api.pid is None:
            self.api.start("api", {"PYTHONPATH": str(ROOT), "CMAC_API_PORT": str(self.port)})

    def start_worker(self, node: str) -> None:
        """One machine's worker; its runs find stand-ins where the core should be."""
        if self.workers[node].pid is None:
            path = os.pathsep.join(map(str, (*self.stand_ins, ROOT)))
            self.workers[node].start("worker", {"PYTHONPATH": path, "CMAC_NODE_NAME": node})

    def wake(self) -> None:
        """SIGCONT to every process of the service and its jobs."""
        for process in [*self.processes("worker"), *self.processes("api"), *self.runs("")]:
            send(process, signal.SIGCONT)

    def processes(self, role: str, node: str | None = None) -> list[psutil.Process]:
        """Those that play this role: api, worker (all of a machine's), control, node, consumer, pool."""
        if role == "api":
            return alive([self.api.pid])
        found: list[psutil.Process] = []
        for name in self.nodes if node is None else (node,):
            if (pid := self.workers[name].pid) is not None:
                with suppress(psutil.Error):
                    found += _of_worker(psutil.Process(pid), role)
        return found

    def marks(self, node: str | None = None) -> dict[int, Mark]:
        """Living processes of attempts, on one machine or all."""
        found: dict[int, Mark] = {}
        for name in self.nodes if node is None else (node,):
            found |= marked(settings().installation, name)
        return found

    def runs(self, role: str, node: str | None = None) -> list[psutil.Process]:
        """Processes of attempts: `supervisor`, `run` (what it started first), or all of them."""
        return [process for process in alive(sorted(self.marks(node))) if role in ("", _role(process))]

    def is_whole(self) -> bool:
        """API ready, database and broker there, somebody leads, all machines heard of and consuming."""
        return all(self.is_back(part) for part in ("api", "redis", "control", "node loop", "consumer"))

    def is_back(self, part: str) -> bool:
        """Whether this part of it works."""
        try:
            match part:
                case "api" | "postgres":  # it asks the database
                    return httpx2.get(f"{self.url}/readyz", timeout=2.0, trust_env=False).status_code == 200
                case "redis":
                    return queue.broker_answers()
                case "control":
                    return self._fresh(Leader.renewed_at) >= len((SCHEDULER, RECONCILER))
                case "node loop":
                    return self._fresh(Node.heartbeat_at, Node.state == NodeState.ready) == len(self.nodes)
                case "consumer" | "pool":
                    return all(len(self.processes("pool", node)) >= POOL for node in self.nodes)
                case _:  # a whole worker, a machine
                    return self.is_back("node loop") and self.is_back("consumer")
        except httpx2.TransportError:
            return False
        except Exception as error:
            if database.is_away(error):
                return False
            raise

    def _fresh(self, at: InstrumentedAttribute[datetime], *more: ColumnElement[bool]) -> int:
        recent = func.extract("epoch", func.now() - at) < settings().times.suspect
        with database.sessions() as session:
            return session.scalar(select(func.count()).select_from(at.class_).where(recent, *more)) or 0

    def until(self, true: Callable[[], object], seconds: float) -> bool:
        """Wait for it; whether it came in time."""
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.3)
        return True

    def crash_postgres(self) -> None:
        """Its processes end at once, nothing is written down; the next start recovers."""
        file = (settings().root / "postgres").resolve() / "postmaster.pid"
        with suppress(FileNotFoundError, psutil.Error):
            process = psutil.Process(int(file.read_text().splitlines()[0]))
            process.send_signal(signal.SIGQUIT)
            process.wait(10)

    def wipe_redis(self) -> None:
        """Stop it and lose all that it held."""
        embedded.stop_redis(settings())
        for file in (self.home / "redis").glob("appendonly*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def folder(self, job: uuid.UUID, epoch: int) -> Path:
        return settings().attempt_folder(job, epoch)

    def register_dataset(self, name: str) -> None:
        """One without clips, for jobs that must name a dataset and do not read it."""
        manifest = settings().datasets_dir / name / MANIFEST
        manifest.parent.mkdir(parents=True)
        manifest.touch()
        dataset = Dataset(
            project="default", name=name, version=1, path=str(manifest.parent), manifest_sha256=sha256_of(manifest),
            clips=100, quarantined=0, with_audio=100, hours=0.1, bytes=0, media="video",
            labels={"class": 8, "split": 2}, counts={"train": 80, "test": 20},
        )  # fmt: skip
        database.transact(lambda session: session.add(dataset))

    def tail(self) -> str:
        """What the workers said last."""
        return "\n".join(daemon.tail(3000) for daemon in self.workers.values())

    def note(self, name: str, text: str) -> Path:
        """Keep something to look at later."""
        file = self.home / "evidence" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file


def alive(pids: Iterable[int | None]) -> list[psutil.Process]:
    """Those that are still there. (Of None psutil makes the process that asks.)"""
    found = []
    for pid in pids:
        with suppress(psutil.Error):
            found += [psutil.Process(pid)] if pid is not None else []
    return found


def send(process: psutil.Process, sign: signal.Signals) -> None:
    """A signal, if it is still there."""
    with suppress(psutil.Error):
        process.send_signal(sign)


def describe(row: object) -> str:
    """A row of a table as JSON."""
    names = [column.name for column in row.__table__.columns]  # type: ignore[attr-defined]
    return json.dumps({name: getattr(row, name) for name in names}, default=str)


def _of_worker(parent: psutil.Process, role: str) -> list[psutil.Process]:
    children = {process: _arguments(process) for process in parent.children()}
    if role == "worker":
        return [parent, *children, *(process for child in children for process in child.children())]
    if role == "pool":
        return [process for child, said in children.items() if "consumer" in said for process in child.children()]
    return [process for process, said in children.items() if role in said]


def _role(process: psutil.Process) -> str:
    said = _arguments(process)
    if "worker.supervisor" in said:
        return "supervisor"
    return "run" if "cmac_core" in said else "beside"


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
