"""The real app on a real PostgreSQL, over real sockets. Jobs are run here by hand, as a supervisor would."""

import hashlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from sqlalchemy import Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from api.app import make_app
from api.server import Server
from api.settings import ApiSettings
from cmac_core.events import AnyEvent, Artifact, Ended, Result, Value
from store import attempts, database, embedded, fence, keys, migrate, nodes, record
from store.ends import Reason
from store.fence import Lease
from store.keys import Role
from store.nodes import FoundDevice
from store.settings import Settings, settings
from store.states import DeviceKind
from store.tables import Dataset, Device, DeviceLease, Job, Node, Part, Project

PLENTY = ApiSettings(
    port=0, rate=1e6, burst=10**6, streams_per_key=50, stream_comment_s=0.3, stream_poll_s=0.2, shutdown_s=2
)
RETRIEVAL: dict[str, Any] = {
    "kind": "retrieval", "dataset": "moving", "checkpoint": {"random_init": True}, "preset": "small",
    "resources": {"cpu_slots": 1},
}  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """A running service with a dataset `moving@1` and one machine of 64 CPU slots."""

    http: httpx2.Client  # an admin's
    url: str
    node: uuid.UUID

    def client(self, token: str | None) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def key(self, role: Role, project: str | None = None, user: str | None = None) -> str:
        with database.sessions.begin() as session:
            if project:
                session.execute(insert(Project).values(name=project).on_conflict_do_nothing())
            return keys.create_key(session, user or f"{role}-{uuid.uuid4().hex[:6]}", "test", role, project)[1]

    def submit(self, **changes: Any) -> str:
        answer = self.http.post("/jobs", json=RETRIEVAL | changes)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def start(self, job: str) -> Lease:
        """Place it, claim it, become its supervisor, pass the barrier."""
        with database.sessions.begin() as session:
            leased = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
            free = select(Device).where(Device.node_id == self.node, Device.id.not_in(leased)).limit(1)
            lease = attempts.place(session, uuid.UUID(job), [(self.node, session.scalars(free).all())])
        assert lease is not None
        with database.sessions.begin() as session:
            assert attempts.claim(session, lease.attempt, lease.epoch, self.node)
            attempts.adopt(session, lease, 1, 1, 1, "boot")
            attempts.ready(session, lease)
        self.folder(job, lease.epoch).mkdir(parents=True)
        return lease

    def tell(self, lease: Lease, *events: AnyEvent) -> None:
        """What the core would have written to events.jsonl."""
        with database.sessions.begin() as session:
            offset = session.scalars(
                select(attempts.Part.events_offset).where(attempts.Part.attempt_id == lease.attempt)
            ).one()
            fence.beat(session, lease, offset, offset + 1)
            record.record(session, lease, events)

    def succeed(self, lease: Lease) -> None:
        """The shortest success: a result of one value."""
        value = Value(name="r@1", value=57.9, n=20, split="1", pool="gap", chance=12.5)
        self.tell(
            lease, Result(values=(value,), protocol={"frames": 8}, lineage={"seed": 0}), Ended(outcome="finished")
        )
        self.finish(lease)

    def finish(self, lease: Lease, reason: Reason = Reason.ok, **said: str) -> None:
        with database.sessions.begin() as session:
            attempts.finish(session, lease, reason, 0, **said)

    def start_on_two(self, job: str) -> Lease:
        """A job over two machines that runs; each has written a line."""
        lease = self.start(job)
        with database.sessions.begin() as session:
            session.execute(update(Job).where(Job.id == uuid.UUID(job)).values(nodes=2))
            session.add(Part(attempt_id=lease.attempt, part=1, epoch=1, node_id=self.node))
        (self.folder(job) / "log.txt").write_text("first\n")
        (self.folder(job) / "log-1.txt").write_text("second\n")
        return lease

    def folder(self, job: str, epoch: int = 1) -> Path:
        return settings().attempt_folder(uuid.UUID(job), epoch)

    def artifact(self, job: str, name: str, data: bytes, media_type: str, kind: str = "table", **meta: Any) -> Artifact:
        """A file in the attempt's folder and the event that tells of it."""
        (self.folder(job) / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return Artifact(
            name=name, kind=kind, media_type=media_type, path=name, sha256=digest, bytes=len(data), meta=meta
        )  # fmt: skip

    def dataset(self, name: str, **columns: Any) -> Dataset:
        """A packed dataset, as far as the database knows."""
        values: dict[str, Any] = {
            "project": "default", "version": 1, "path": str(settings().datasets_dir / name),
            "manifest_sha256": "0" * 64,
            "clips": 100, "quarantined": 0, "with_audio": 100, "hours": 0.1, "bytes": 1000, "media": "video",
            "labels": {"class": 8, "split": 2}, "counts": {"train": 80, "test": 20},
        }  # fmt: skip
        with database.sessions.begin() as session:
            dataset = Dataset(name=name, **values | columns)
            session.add(dataset)
        return dataset

    def row(self, job: str) -> Job:
        with database.sessions() as session:
            return session.get_one(Job, uuid.UUID(job))


@dataclass
class Running:
    """An app behind uvicorn in a thread."""

    app: Any
    url: str


@dataclass(frozen=True)
class House:
    """A home with a migrated database of its own, which a test may stop and start."""

    home: Path
    engine: Engine

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process's settings and engine are the house's."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("CMAC_")]:
                patch.delenv(name)
            patch.setenv("CMAC_HOME", str(self.home))
            patch.setattr(database, "engine", lambda: self.engine)
            settings.cache_clear()
            yield
        settings.cache_clear()


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as folder:
        own = Settings(home=Path(folder), database_url=None)
        embedded.start_postgres(own, durable=False)
        address = embedded.database_url(own).replace("postgresql:", "postgresql+psycopg:", 1)
        engine = database.create(address)
        try:
            migrate.upgrade(engine)
            yield House(Path(folder), engine)
        finally:
            engine.dispose()
            embedded.stop_postgres(own)


@pytest.fixture(autouse=True)
def at_home(house: House) -> Iterator[None]:
    """Each test here is in the house, and no other test is."""
    with house.entered():
        yield


@pytest.fixture(scope="session")
def serve(house: House) -> Iterator[Callable[[ApiSettings], Running]]:
    """Serve an app on a free port until the tests end."""
    servers: list[tuple[Server, threading.Thread]] = []

    def start(wanted: ApiSettings) -> Running:
        app = make_app(wanted)
        config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=wanted.shutdown_s)
        server = Server(config, app.state.streams)
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        end = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return Running(app, f"http://127.0.0.1:{port}")

    yield start
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def lab(house: House, serve: Callable[[ApiSettings], Running]) -> Iterator[Lab]:
    """The service that most tests share. Its first start makes the first key."""
    with house.entered():
        running = serve(PLENTY)
        token = (house.home / "admin.key").read_text().strip()
        devices = [FoundDevice(DeviceKind.cpu, index) for index in range(64)]
        with database.sessions.begin() as session:
            node: Node = nodes.register(
                session, "here", boot_id="b", storage_id="here", cpus=64, memory_mb=1000, devices=devices, versions={}
            )
        headers = {"Authorization": f"Bearer {token}"}
        http = httpx2.Client(base_url=running.url, headers=headers, timeout=20, trust_env=False)
        lab = Lab(http, running.url, node.id)
        lab.dataset("moving")
    with http:
        yield lab


@pytest.fixture
def project() -> str:
    """A name that no other test has."""
    return f"p-{uuid.uuid4().hex[:8]}"
