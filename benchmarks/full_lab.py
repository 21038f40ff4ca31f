"""A service in a folder of its own, filled by single statements: a long line, a long history, many curves."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx2
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from cmac_core.specs import JOB_SPEC
from store import attempts, database, embedded, jobs, keys, migrate, nodes
from store.ends import Reason
from store.fence import Lease
from store.keys import Principal, Role
from store.nodes import FoundDevice
from store.settings import settings
from store.states import AttemptState, DeviceKind, PartState
from store.tables import Attempt, Dataset, Job, Node, Part, User

MACHINES, GPUS, PEOPLE = 32, 8, 40
ADMIN = Principal("admin", Role.admin)
STEPS, CURVES = 10_000, 10  # points of a curve, curves of a job
EVALUATION = {
    "kind": "retrieval", "dataset": "moving", "scale": "small", "checkpoint": {"random_init": True},
    "resources": {"gpus": 1},
}  # fmt: skip
_OWN = ("id", "owner", "state", "submitted_at", "started_at", "ended_at", "gpus", "priority", "scale", "waiting")
_COPIED = ", ".join(column.name for column in Job.__table__.columns if column.name not in _OWN)
# Owners, sizes and tiers as a lab has them: most ask for little, and one in five waits at another tier.
_QUEUE = f"""
    INSERT INTO jobs (id, owner, state, submitted_at, gpus, priority, {_COPIED})
    SELECT gen_random_uuid(), 'user' || i % {PEOPLE}, 'queued', now() - make_interval(secs => random() * 80000),
           (ARRAY[1, 1, 1, 2, 4, 8])[1 + i % 6], (ARRAY[1, 2, 2, 2, 3])[1 + i % 5], {_COPIED}
      FROM jobs, generate_series(1, :count) AS i WHERE jobs.id = :like
"""
_FINISH = f"""
    INSERT INTO jobs (id, owner, state, submitted_at, started_at, ended_at, gpus, priority, {_COPIED})
    SELECT gen_random_uuid(), 'user' || i % {PEOPLE}, 'succeeded', began, began + interval '1 hour',
           began + interval '2 hours', 1, 2, {_COPIED}
      FROM jobs, generate_series(1, :count) AS i, LATERAL (SELECT now() - make_interval(mins => i) AS began) AS _
     WHERE jobs.id = :like
"""
_MEASURE = """
    INSERT INTO metrics (job_id, name, step, epoch, value, train_epoch)
    SELECT job.id, 'loss/' || curve, step, 1, 1 / (step + 1.0), step / 1000.0
      FROM (SELECT id FROM jobs
             WHERE state = 'succeeded' AND NOT EXISTS (SELECT FROM metrics WHERE job_id = jobs.id)
          ORDER BY submitted_at DESC LIMIT :jobs) AS job,
           generate_series(1, :curves) AS curve, generate_series(1, :steps) AS step
"""


class FullLab:
    """What is asked of a service that is full."""

    def __init__(self, like: UUID, token: str) -> None:
        self._like, self._token, self._url = like, token, ""

    def queue(self, count: int) -> None:
        """Make the line so long."""
        with database.sessions.begin() as session:
            waiting = session.scalar(select(func.count()).where(Job.state == "queued")) or 0
            session.execute(text(_QUEUE), {"count": count - waiting, "like": self._like})
        _analyze("jobs")

    def finish(self, count: int) -> None:
        """Add jobs that succeeded, a minute apart."""
        with database.sessions.begin() as session:
            session.execute(text(_FINISH), {"count": count, "like": self._like})
        _analyze("jobs")

    def measure(self, points: int, steps: int | None = None) -> UUID:
        """Add so many points to curves of finished jobs, `steps` to each; one of these jobs."""
        steps = steps or STEPS
        with database.sessions.begin() as session:
            wanted = {"jobs": points // (steps * CURVES), "steps": steps, "curves": CURVES}
            session.execute(text(_MEASURE), wanted)
            job = session.execute(text("SELECT job_id FROM metrics WHERE step = :steps LIMIT 1"), wanted).scalar_one()
        _analyze("metrics")
        return UUID(str(job))

    def beat(self) -> None:
        """All machines are heard of."""
        with database.sessions.begin() as session:
            session.execute(update(Node).values(heartbeat_at=func.now()))

    def start(self, session: Session) -> Lease:
        """One of the jobs that were placed, with its devices, as its supervisor would see it."""
        new = select(Part).where(Part.state == PartState.dispatched).order_by(Part.dispatched_at).limit(1)
        part = session.scalars(new).one()
        lease = attempts.claim(session, part.attempt_id, part.epoch, part.node_id)
        assert lease is not None
        attempts.adopt(session, lease, 1, 1, 1, "boot")
        assert attempts.ready(session, lease)
        return lease

    def end_one(self) -> None:
        """A job that has devices succeeds and gives them back."""
        with database.sessions.begin() as session:
            session.expire_all()
            young = select(Attempt.id).where(Attempt.state == AttemptState.dispatched)
            part = session.scalars(select(Part).where(Part.attempt_id.in_(young)).limit(1)).one()
            attempts.finish(session, Lease(part.attempt_id, part.epoch, part.part), Reason.ok, 0)

    @contextmanager
    def signed_in(self) -> Iterator[httpx2.Client]:
        """A browser of the admin's, without scripts."""
        headers = {"Accept": "text/html", "Origin": self._url}
        with httpx2.Client(base_url=self._url, headers=headers, timeout=120, trust_env=False) as browser:
            assert browser.post("/session", json={"key": self._token}).status_code == 201
            yield browser

    @contextmanager
    def served(self) -> Iterator[httpx2.Client]:
        """The API in a process of its own, and an admin's connection to it."""
        port = embedded.free_port("127.0.0.1")
        raised = {"CMAC_API_RATE": "1e6", "CMAC_API_BURST": "1000000", "CMAC_QUEUED_PER_USER": "100000"}
        command = [sys.executable, "-m", "api", "--port", str(port)]
        api = subprocess.Popen(command, env=os.environ | raised, stderr=subprocess.DEVNULL)
        headers, self._url = {"Authorization": f"Bearer {self._token}"}, f"http://127.0.0.1:{port}"
        try:
            with httpx2.Client(base_url=self._url, headers=headers, timeout=120, trust_env=False) as http:
                wait_for(http)
                yield http
        finally:
            api.terminate()
            api.wait(20)


@contextmanager
def full_lab() -> Iterator[FullLab]:
    """An empty one with 256 GPUs on 32 machines. This process's settings are its own meanwhile."""
    before = {name: value for name, value in os.environ.items() if name.startswith("CMAC_")}
    folder = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))  # short: sockets have 107 characters
    set_only({"CMAC_HOME": str(folder)})
    own = settings()
    try:
        embedded.start_postgres(own)
        migrate.upgrade(database.engine())
        with database.sessions.begin() as session:
            token = keys.bootstrap(session)
            assert token is not None
            like = _populate(session)
        yield FullLab(like, token)
    finally:
        database.forget()
        embedded.stop_postgres(own)
        set_only(before)
        shutil.rmtree(folder, ignore_errors=True)


def _populate(session: Session) -> UUID:
    for index in range(MACHINES):
        name = f"node{index:02}"
        devices = [FoundDevice(DeviceKind.gpu, i, f"GPU-{name}-{i}", "H200", 143_000) for i in range(GPUS)]
        nodes.register(
            session, name, boot_id="b", storage_id="s", cpus=64, memory_mb=1000, devices=devices, versions={}
        )
    session.add_all(User(name=f"user{i}", role=str(Role.submitter)) for i in range(PEOPLE))
    session.add(
        Dataset(
            project="default", name="moving", version=1, path="/data/moving", manifest_sha256="0" * 64, clips=1000,
            quarantined=0, with_audio=1000, hours=0.1, bytes=1000, media="video", labels={"class": 8, "split": 2},
            counts={"train": 80, "test": 20},
        )
    )  # fmt: skip
    session.flush()
    return jobs.submit(session, JOB_SPEC.validate_python(EVALUATION), ADMIN).id


def _analyze(table: str) -> None:
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM (ANALYZE) {table}"))  # as autovacuum would by and by


def set_only(values: dict[str, str]) -> None:
    """These CMAC_ settings for this process and its children, and no others."""
    for name in [name for name in os.environ if name.startswith("CMAC_")]:
        del os.environ[name]
    os.environ.update(values)
    settings.cache_clear()


def wait_for(http: httpx2.Client, path: str = "/healthz") -> None:
    """Until a server that was just started answers there. Raises RuntimeError after two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if http.get(path).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody answers at {http.base_url}{path}")
