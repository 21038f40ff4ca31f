"""One run on two nodes: real supervisors of two nodes of this machine, with small programs in the core's place."""

import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from store import attempts, database, verbs
from store.fence import Lease
from store.keys import SYSTEM
from store.settings import settings
from store.states import JobState, PartState
from store.tables import Device, DeviceLease, Metric
from worker import here, marks
from worker.marks import carrying
from worker.node import NodeLoop
from worker.processes import kill_all

if TYPE_CHECKING:
    from conftest import Stage

STEPS = "for step in range(1, 4): say(Metrics(step=step, values={'loss': 1 / step}))\n"
FINISH = """
say(DatasetMade(path=str(folder), manifest_sha256="0", clips=1, quarantined=0, hours=0, bytes=1, media="video",
                with_audio=1, labels={}))
say(Ended(outcome="finished"))
"""
LONG = "rank()\nwhile True: time.sleep(0.02)"


@dataclass
class Pair:
    """The stage's node and a second one, whose address makes it part 1."""

    stage: "Stage"
    name: str
    node: uuid.UUID

    def place(self) -> tuple[uuid.UUID, list[Lease]]:
        job = self.stage.submit()

        def work(session: Any) -> Lease | None:
            found = []
            for node in (self.node, self.stage.node):
                device = select(Device).where(Device.node_id == node, Device.kind == "cpu", Device.index == 0)
                found.append((node, session.scalars(device).all()))
            return attempts.place(session, job, found)

        lease = database.transact(work)
        assert lease is not None
        leases = [lease, lease._replace(part=1)]
        for one, node in zip(leases, (self.stage.node, self.node), strict=True):
            claimed = database.transact(lambda s: attempts.claim(s, lease.attempt, lease.epoch, node))  # noqa: B023
            assert claimed == one, "parts are in the order of addresses"
        self.stage.leases.append(lease)
        return job, leases

    def supervise(self, lease: Lease, program: str) -> "subprocess.Popen[bytes]":
        if lease.part == 0:
            return self.stage.supervise(lease, program)
        return self.stage.supervise(lease, program, CMAC_NODE_NAME=self.name, **{marks.VARIABLE: str(self.mark(lease))})

    def run(self, program: str) -> tuple[uuid.UUID, list[Lease], list["subprocess.Popen[bytes]"]]:
        job, leases = self.place()
        return job, leases, [self.supervise(lease, program) for lease in leases]

    def both_run(self, job: uuid.UUID) -> None:
        files = [self.stage.folder_of(job) / f"rank-{rank}.pid" for rank in range(2)]
        self.stage.until(lambda: all(file.exists() for file in files), 60)

    def mark(self, lease: Lease) -> marks.Mark:
        return here.mark(lease)._replace(node=self.name)

    def held(self, lease: Lease) -> int:
        live = select(func.count()).where(DeviceLease.attempt_id == lease.attempt, DeviceLease.released_at.is_(None))
        return self.stage.read(lambda session: session.scalar(live)) or 0

    def told(self, job: uuid.UUID) -> list[int]:
        points = select(Metric.step).where(Metric.job_id == job, Metric.name == "loss").order_by(Metric.step)
        return self.stage.read(lambda session: list(session.scalars(points)))


@pytest.fixture
def pair(stage: "Stage", monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    name = f"node-{uuid.uuid4().hex[:8]}"
    with monkeypatch.context() as other:
        other.setenv("CMAC_NODE_NAME", name)
        other.setenv("CMAC_NODE_ADDRESS", "127.0.0.2")
        settings.cache_clear()
        node = database.transact(here.register).id
    settings.cache_clear()
    pair = Pair(stage, name, node)
    yield pair
    for lease in stage.leases:
        mark = pair.mark(lease._replace(part=1))
        assert kill_all(lambda: carrying(mark))  # noqa: B023


def test_nobody_starts_before_all_are_ready_and_every_line_is_told_once(pair: Pair) -> None:
    stage = pair.stage
    job, leases = pair.place()
    first = pair.supervise(leases[0], STEPS + FINISH)
    stage.until(lambda: stage.part(leases[0]).state is PartState.ready, 60)
    assert not (stage.folder_of(job) / "log.txt").exists()
    assert (stage.attempt(leases[0]).rdzv_endpoint or "").startswith("127.0.0.1:")
    second = pair.supervise(leases[1], STEPS + FINISH)
    assert (first.wait(60), second.wait(60)) == (0, 0), stage.log()
    row = stage.job(job)
    assert (row.state, row.reason, row.epoch) == (JobState.succeeded, "ok", 1), stage.log()
    assert pair.told(job) == [1, 2, 3]
    assert (stage.folder_of(job) / "log-1.txt").exists()
    assert pair.held(leases[0]) == 0


def test_one_part_that_dies_stops_the_others_for_one_restart(pair: Pair) -> None:
    stage = pair.stage
    job, leases, supervisors = pair.run(
        "rank()\nif number == 1:\n    while not (folder / 'die').exists(): time.sleep(0.02)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\nwhile True: time.sleep(0.02)"
    )
    pair.both_run(job)
    (stage.folder_of(job) / "die").touch()
    assert [one.wait(60) for one in supervisors] == [0, 0], stage.log()
    row, attempt = stage.job(job), stage.attempt(leases[0])
    assert (row.state, row.infra_restarts, row.user_restarts) == (JobState.queued, 1, 0), stage.log()
    assert attempt.reason == "supervisor_lost"
    assert pair.held(leases[0]) == 0


def test_a_cancel_reaches_the_ranks_of_all_nodes(pair: Pair) -> None:
    job, leases, supervisors = pair.run(LONG)
    pair.both_run(job)
    database.transact(lambda session: verbs.cancel(session, job, SYSTEM))
    assert [one.wait(60) for one in supervisors] == [0, 0], pair.stage.log()
    assert pair.stage.job(job).state is JobState.cancelled
    assert not carrying(pair.mark(leases[1]))


def test_a_dead_supervisor_of_the_second_node_is_buried_there_and_no_line_is_told_twice(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = pair.stage
    job, leases, supervisors = pair.run(STEPS + LONG)
    pair.both_run(job)
    stage.until(lambda: pair.told(job) == [1, 2, 3], 60)
    supervisors[1].send_signal(signal.SIGKILL)
    supervisors[1].wait()
    with monkeypatch.context() as other:
        other.setenv("CMAC_NODE_NAME", pair.name)
        settings.cache_clear()
        NodeLoop(pair.node).look()
        settings.cache_clear()
    settings.cache_clear()
    assert supervisors[0].wait(60) == 0, stage.log()
    row = stage.job(job)
    assert (row.state, row.infra_restarts) == (JobState.queued, 1), stage.log()
    assert stage.attempt(leases[0]).reason == "supervisor_lost"
    assert pair.told(job) == [1, 2, 3]


def test_what_was_not_taken_up_ends_with_the_part_that_was(pair: Pair) -> None:
    stage = pair.stage
    job = stage.submit()

    def work(session: Any) -> Lease | None:
        devices = [session.scalars(select(Device).where(Device.node_id == node).limit(1)).all() for node in (
            stage.node, pair.node)]  # fmt: skip
        return attempts.place(session, job, list(zip((stage.node, pair.node), devices, strict=True)))

    lease = database.transact(work)
    assert lease is not None
    stage.leases.append(lease)
    stage.claim(lease)
    database.transact(lambda session: verbs.cancel(session, job, SYSTEM))
    assert pair.supervise(lease, FINISH).wait(60) == 0
    assert stage.job(job).state is JobState.cancelled
    assert pair.held(lease) == 0
    assert not (stage.folder_of(job) / "events.jsonl").exists()
