"""Real supervisors on a real database, with small programs in the core's place."""

import signal
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from store import database, verbs
from store.keys import SYSTEM
from store.settings import settings
from store.states import AttemptState, JobState, PartState
from store.tables import Artifact, Checkpoint, DeviceLease, Metric
from worker import here
from worker.marks import carrying

if TYPE_CHECKING:
    from conftest import Stage

FINISH = """
say(DatasetMade(path=str(folder), manifest_sha256="0", clips=1, quarantined=0, hours=0, bytes=1, media="video",
                with_audio=1, labels={}))
say(Ended(outcome="finished"))
"""
STEPS = "for step in range(1, 4): say(Metrics(step=step, values={'loss': 1 / step}))\n"
LONG = "rank()\nwhile True: time.sleep(0.02)"


def points(stage: "Stage", job: uuid.UUID, name: str = "loss") -> list[int]:
    query = select(Metric.step).where(Metric.job_id == job, Metric.name == name).order_by(Metric.step)
    return stage.read(lambda session: list(session.scalars(query)))


def leases(stage: "Stage", job: uuid.UUID) -> int:
    held = select(func.count()).where(DeviceLease.released_at.is_(None), DeviceLease.attempt_id.in_(
        [lease.attempt for lease in stage.leases]))  # fmt: skip
    return stage.read(lambda session: session.scalar(held)) or 0


def test_a_run_that_finishes_succeeds_and_everything_is_told(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(STEPS + FINISH)
    assert supervisor.wait(20) == 0, stage.log()
    row = stage.job(job)
    assert (row.state, row.reason) == (JobState.succeeded, "ok"), stage.log()
    assert points(stage, job) == [1, 2, 3]
    assert stage.attempt(lease).state == AttemptState.exited
    assert stage.part(lease).state == PartState.exited
    assert leases(stage, job) == 0
    assert not carrying(here.mark(lease))
    assert (stage.folder_of(job) / "spec.json").exists()


def test_the_machines_own_curves_are_kept(stage: "Stage") -> None:
    job, _, supervisor = stage.run(STEPS + "time.sleep(0.6)\n" + FINISH)
    assert supervisor.wait(20) == 0
    assert points(stage, job, "sys/cpu")
    assert points(stage, job, "sys/memory")


def test_progress_is_told_while_it_runs(stage: "Stage") -> None:
    job, _, _ = stage.run("rank()\nsay(Progress(phase='pack', step=3, of=9))\ntime.sleep(60)")
    stage.until(lambda: stage.job(job).progress)
    progress = stage.job(job).progress
    assert progress is not None
    assert (progress["step"], progress["of"]) == (3, 9)
    assert stage.job(job).state == JobState.running


def test_an_error_shows_the_end_of_the_log(stage: "Stage") -> None:
    job, _, supervisor = stage.run("log._file.close(); Path(log._file.name).unlink()\nraise RuntimeError('boom')")
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert (row.state, row.reason) == (JobState.failed, "user_error")
    assert "boom" in (row.detail or "")
    assert "boom" in (row.log_tail or "")


def test_a_reason_of_the_core_is_the_jobs(stage: "Stage") -> None:
    job, _, supervisor = stage.run('say(Ended(outcome="failed", reason="data_error", detail="bad")); sys.exit(1)')
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert (row.state, row.reason, row.detail) == (JobState.failed, "data_error", "bad")


def test_a_cancel_lets_it_save_and_ends_cancelled(stage: "Stage") -> None:
    job, _, supervisor = stage.run(LONG)
    stage.until((stage.folder_of(job) / "rank-0.pid").exists)
    database.transact(lambda session: verbs.cancel(session, job, SYSTEM))
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert (row.state, row.reason) == (JobState.cancelled, "cancelled"), stage.log()
    assert '"left"' in (stage.folder_of(job) / "events.jsonl").read_text()


def test_a_pause_lets_it_save_and_it_is_queued_again_when_it_is_resumed(stage: "Stage") -> None:
    job, _, supervisor = stage.run(LONG)
    stage.until((stage.folder_of(job) / "rank-0.pid").exists)
    database.transact(lambda session: verbs.pause(session, job, SYSTEM))
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert (row.state, row.reason) == (JobState.paused, "paused"), stage.log()
    database.transact(lambda session: verbs.resume(session, job, SYSTEM))
    assert stage.job(job).state == JobState.queued


@pytest.mark.system
def test_a_run_whose_time_is_nearly_over_saves_and_a_retry_goes_on(stage: "Stage") -> None:
    job, _, supervisor = stage.run(LONG, queue={"walltime_s": 4, "grace_s": 2})
    began = time.monotonic()
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert (row.state, row.reason, row.detail) == (JobState.failed, "walltime", "Its walltime is used up."), stage.log()
    assert "cmac retry" in (row.hint or "")
    assert '"left"' in (stage.folder_of(job) / "events.jsonl").read_text()
    assert 1 < row.used_s < 4 < time.monotonic() - began + 2


@pytest.mark.system
def test_a_run_that_does_not_save_in_its_time_is_ended_all_the_same(stage: "Stage") -> None:
    deaf = "rank()\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\nwhile True: time.sleep(0.02)"
    job, _, supervisor = stage.run(deaf, queue={"walltime_s": 3, "grace_s": 1})
    assert supervisor.wait(30) == 0
    row = stage.job(job)
    assert (row.state, row.reason) == (JobState.failed, "walltime"), stage.log()


@pytest.mark.system
def test_a_training_that_hangs_is_ended_and_shows_where_it_stood(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAC_HUNG_S", "1.5")
    program = """
import faulthandler
faulthandler.register(signal.SIGUSR2, all_threads=True)
rank()
for step in range(1, 6):
    say(Progress(phase='train', step=step, of=100)); time.sleep(0.02)
def stuck_in_here():
    time.sleep(60)
stuck_in_here()
"""
    job, _, supervisor = stage.run(program)
    assert supervisor.wait(30) == 0
    row = stage.job(job)
    assert (row.state, row.infra_restarts) == (JobState.queued, 1), stage.log()
    assert (row.detail or "").startswith("No step for "), row.detail
    assert "after step 5" in (row.detail or "")
    kept = stage.read(lambda s: s.scalars(select(Artifact).where(Artifact.job_id == job)).all())
    assert [artifact.name for artifact in kept] == ["stacks"]
    assert "stuck_in_here" in (stage.folder_of(job) / kept[0].path).read_text()


def test_a_cancel_by_force_does_not_wait(stage: "Stage") -> None:
    job, _, supervisor = stage.run("signal.signal(signal.SIGUSR1, signal.SIG_IGN)\ntime.sleep(60)")
    stage.until(lambda: stage.job(job).state == JobState.running)
    database.transact(lambda session: verbs.cancel(session, job, SYSTEM, force=True))
    assert supervisor.wait(20) == 0
    assert stage.job(job).state == JobState.cancelled


def test_a_cancel_before_the_start_starts_nothing(stage: "Stage") -> None:
    job = stage.submit()
    lease = stage.place(job)
    stage.claim(lease)
    database.transact(lambda session: verbs.cancel(session, job, SYSTEM))
    assert stage.supervise(lease, FINISH).wait(20) == 0
    assert stage.job(job).state == JobState.cancelled
    assert not (stage.folder_of(job) / "events.jsonl").exists()


def test_a_second_supervisor_of_a_part_leaves_and_harms_nothing(stage: "Stage") -> None:
    job, lease, first = stage.run("rank()\nwhile not (folder / 'go').exists(): time.sleep(0.02)\n" + FINISH)
    stage.until(lambda: stage.job(job).state == JobState.running)
    second = stage.supervise(lease, FINISH)
    assert second.wait(20) == 0
    assert first.poll() is None
    (stage.folder_of(job) / "go").touch()
    assert first.wait(20) == 0
    assert stage.job(job).state == JobState.succeeded


def test_a_supervisor_that_was_given_up_kills_and_writes_nothing(stage: "Stage") -> None:
    from store import attempts
    from store.ends import Reason

    job, lease, supervisor = stage.run("rank()\nwhile True: say(Metrics(step=time.monotonic_ns(), values={'loss': 1})); time.sleep(0.1)")  # fmt: skip # noqa: E501
    stage.until(lambda: points(stage, job))
    database.transact(lambda session: attempts.give_up(session, lease.attempt, Reason.worker_lost, release=True))
    told = points(stage, job)
    assert supervisor.wait(20) == 0
    assert points(stage, job) == told
    assert not carrying(here.mark(lease))
    assert stage.job(job).state == JobState.queued


def test_sigterm_to_the_supervisor_saves_and_gives_the_job_back(stage: "Stage") -> None:
    job, _, supervisor = stage.run(LONG)
    stage.until((stage.folder_of(job) / "rank-0.pid").exists)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(20) == 0
    row = stage.job(job)
    assert row.state == JobState.queued, stage.log()
    assert row.user_restarts == row.infra_restarts == 0


def test_children_of_a_killed_supervisor_are_told_to_save(stage: "Stage") -> None:
    job, lease, supervisor = stage.run(LONG)
    stage.until((stage.folder_of(job) / "rank-0.pid").exists)
    supervisor.kill()
    stage.until(lambda: '"left"' in (stage.folder_of(job) / "events.jsonl").read_text())
    stage.until(lambda: not carrying(here.mark(lease)))


def test_no_disk_space_is_said_before_the_start(stage: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAC_MIN_FREE_MB", str(2**40))
    job, lease, supervisor = stage.run(FINISH)
    assert supervisor.wait(20) == 0
    attempt = stage.attempt(lease)
    assert attempt.reason == "disk_full"
    assert "MiB are needed" in (attempt.detail or "")
    assert stage.job(job).state == JobState.queued


@pytest.mark.system
def test_a_broken_checkpoint_is_marked_and_the_one_before_is_taken(stage: "Stage") -> None:
    import hashlib

    saving = (
        "import hashlib\n"
        "for step in (1, 2):\n"
        "    data = b'state %d' % step; file = folder / f'{step}.pt'; file.write_bytes(data)\n"
        "    say(Saved(step=step, train_epoch=0, path=file.name, sha256=hashlib.sha256(data).hexdigest(), bytes=7))\n"
        'say(Ended(outcome="left")); sys.exit(75)'
    )
    job, _, supervisor = stage.run(saving)
    assert supervisor.wait(20) == 0
    assert stage.job(job).state == JobState.queued
    (stage.folder_of(job) / "2.pt").write_bytes(b"rubbish")
    lease = stage.place(job)
    stage.claim(lease)
    assert stage.supervise(lease, FINISH).wait(20) == 0
    inputs = (stage.folder_of(job, 2) / "inputs.json").read_text()
    assert hashlib.sha256(b"state 1").hexdigest() in inputs
    states = stage.read(lambda s: dict(s.execute(select(Checkpoint.step, Checkpoint.state).where(Checkpoint.job_id == job)).all()))  # fmt: skip # noqa: E501
    assert states == {1: "ok", 2: "bad"}


def test_what_the_database_refuses_does_not_end_a_run(stage: "Stage") -> None:
    poison = "say(Metrics(step=2**70, values={'loss': 1.0}))\n"  # beyond a bigint
    job, _, supervisor = stage.run(STEPS + poison + "say(Metrics(step=9, values={'loss': 0.1}))\n" + FINISH)
    assert supervisor.wait(20) == 0, stage.log()
    assert stage.job(job).state == JobState.succeeded
    assert points(stage, job) == [1, 2, 3, 9]


@pytest.mark.system
def test_a_run_that_ends_while_the_database_is_away_is_told_of_when_it_is_back(stage: "Stage") -> None:
    steps = "for step in range(60): say(Metrics(step=step, values={'loss': 1.0})); time.sleep(0.03)\n"
    job, lease, supervisor = stage.run("(folder / 'up').touch()\n" + steps + FINISH)
    stage.until((stage.folder_of(job) / "up").exists)
    with stage.database_away():
        stage.until(lambda: '"finished"' in (stage.folder_of(job) / "events.jsonl").read_text())
        stage.until(lambda: carrying(here.mark(lease)) == [supervisor.pid])
        assert supervisor.poll() is None, "it has still to tell of the end"
    assert supervisor.wait(20) == 0, stage.log()
    assert stage.job(job).state == JobState.succeeded
    assert points(stage, job) == list(range(60))


@pytest.mark.system
def test_with_other_machines_about_a_run_ends_before_it_may_be_given_away(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAC_ON_PARTITION", "fence")
    deaf = "for sign in (signal.SIGUSR1, signal.SIGTERM): signal.signal(sign, signal.SIG_IGN)\n"
    job, lease, supervisor = stage.run(deaf + "(folder / 'up').touch()\ntime.sleep(60)")
    stage.until((stage.folder_of(job) / "up").exists)
    stage.until(lambda: stage.job(job).state == JobState.running)
    with stage.database_away():
        cut_off = time.monotonic()
        stage.until(lambda: carrying(here.mark(lease)) == [supervisor.pid])
        assert time.monotonic() - cut_off < settings().times.fence + 1
    assert supervisor.wait(20) == 0, stage.log()
    assert stage.attempt(lease).reason == "self_fenced"
    assert stage.job(job).state == JobState.queued
