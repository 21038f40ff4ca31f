"""The node loop on a real database: it takes up, leaves alone, buries and sweeps."""

import os
import subprocess
import sys
import threading
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update

from cmac_core.events import DatasetMade, Ended
from store import attempts, database
from store.ends import Reason
from store.fence import Lease
from store.settings import settings
from store.states import JobState
from store.tables import DeviceLease, Metric, Part
from worker import here, marks
from worker.marks import Mark, carrying
from worker.node import NodeLoop
from worker.processes import entry_of

if TYPE_CHECKING:
    from conftest import Stage

# Tells three points at once and goes on; deaf to the signal that it gets when its supervisor dies.
DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for step in range(3): say(Metrics(step=step, values={"loss": 1.0}))
(folder / "said").touch()
time.sleep(60)
"""


def look(stage: "Stage", times: int = 1) -> None:
    loop = NodeLoop(stage.node)
    for _ in range(times):
        loop.look()


def held(stage: "Stage") -> int:
    query = select(func.count()).where(
        DeviceLease.released_at.is_(None), DeviceLease.attempt_id.in_([lease.attempt for lease in stage.leases])
    )
    return stage.read(lambda session: session.scalar(query)) or 0


def test_what_no_message_tells_of_is_taken_up_after_a_while(stage: "Stage") -> None:
    lease = stage.place(stage.submit())
    look(stage)
    assert stage.part(lease).claimed_at is None, "a message may still come"
    late = update(Part).where(Part.attempt_id == lease.attempt)
    database.transact(lambda session: session.execute(late.values(dispatched_at=func.now() - timedelta(seconds=5))))
    look(stage)
    stage.until(lambda: stage.part(lease).pid)


def test_a_supervisor_that_lives_is_left_alone(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(DEAF)
    stage.until(lambda: stage.job(job).state == JobState.running)
    look(stage, times=3)
    assert supervisor.poll() is None
    assert stage.job(job).state == JobState.running
    assert carrying(here.mark(lease))


def test_the_end_of_a_supervisor_wakes_the_loop(stage: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.node.PAUSE", 1e6)
    job, _, supervisor = stage.run(DEAF)
    stage.until((stage.folder_of(job) / "said").exists)
    woken = threading.Event()
    loop = NodeLoop(stage.node)
    loop.wake = woken.set
    loop.look()
    assert not woken.wait(0.2), "nothing has ended"
    supervisor.kill()
    assert woken.wait(10)


def test_a_dead_supervisor_leaves_no_process_no_lease_and_no_line_behind(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(DEAF)
    stage.until((stage.folder_of(job) / "said").exists)
    supervisor.kill()
    supervisor.wait()
    assert carrying(here.mark(lease)), "the run itself is deaf and still there"
    look(stage)
    assert not carrying(here.mark(lease))
    row = stage.job(job)
    assert row.state == JobState.queued
    assert stage.attempt(lease).reason == "supervisor_lost"
    assert held(stage) == 0
    told = select(Metric.step).where(Metric.job_id == job, Metric.name == "loss").order_by(Metric.step)
    assert stage.read(lambda session: session.scalars(told).all()) == [0, 1, 2]


def test_a_run_that_had_finished_succeeds_without_its_supervisor(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(DEAF)
    stage.until((stage.folder_of(job) / "said").exists)
    supervisor.kill()
    supervisor.wait()
    made = DatasetMade(
        path="/x", manifest_sha256="0", clips=1, quarantined=0, hours=0, bytes=1, media="video", with_audio=1, labels={}
    )
    with (stage.folder_of(job) / "events.jsonl").open("a") as file:
        file.writelines(event.model_dump_json() + "\n" for event in (made, Ended(outcome="finished")))
    look(stage)
    assert stage.job(job).state == JobState.succeeded
    assert stage.attempt(lease).reason == "ok"


def test_after_a_reboot_the_reason_is_the_reboot(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(DEAF)
    stage.until((stage.folder_of(job) / "said").exists)
    supervisor.kill()
    supervisor.wait()
    earlier = update(Part).where(Part.attempt_id == lease.attempt).values(boot_id="an earlier boot")
    database.transact(lambda session: session.execute(earlier))
    look(stage)
    assert stage.attempt(lease).reason == "node_rebooted"


def test_what_was_given_up_for_lost_is_cleared_and_its_devices_offered_again(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(DEAF)
    stage.until((stage.folder_of(job) / "said").exists)
    os.kill(supervisor.pid, 19)  # SIGSTOP: silent, and still there
    database.transact(lambda session: attempts.give_up(session, lease.attempt, Reason.worker_lost, release=False))
    assert held(stage) == 1
    look(stage)
    assert held(stage) == 0
    assert not carrying(here.mark(lease))
    assert stage.job(job).state == JobState.queued


def test_processes_of_attempts_that_are_over_are_killed_and_no_others(stage: "Stage") -> None:
    lease = Lease(uuid.uuid4(), 1)
    dead = here.mark(lease)
    strangers = [dead._replace(installation="another"), dead._replace(node="elsewhere")]
    zombie, *others = [sleeper(mark) for mark in (dead, *strangers)]
    try:
        loop = NodeLoop(stage.node)
        loop.look()
        assert zombie.poll() is None, "a supervisor takes a moment to leave"
        loop.look()
        assert zombie.wait(5) == -9
        assert all(entry_of(other.pid) for other in others)
    finally:
        for process in (zombie, *others):
            process.kill()
            process.wait()


def test_a_machine_that_the_database_forgot_registers_anew(stage: "Stage") -> None:
    loop = NodeLoop(uuid.uuid4())
    loop.look()
    assert loop.node_id == stage.node


def test_cpu_slots_and_storage_are_offered(stage: "Stage") -> None:
    assert sum(device.kind == "cpu" for device in here.devices()) == 2
    assert here.storage_id(settings().jobs_dir) == here.storage_id(settings().jobs_dir)


def sleeper(mark: Mark) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(command, env=os.environ | {marks.VARIABLE: str(mark)})
