"""The life of one attempt, and that an old lease changes nothing."""

import threading
import uuid

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from cmac_core.events import Metrics
from store import attempts, database, fence, record, tries
from store.ends import Reason
from store.errors import AlreadyAdopted, AlreadyRecorded, Fenced
from store.states import AttemptState, Desired, JobState, PartState
from store.tables import Attempt, Device, Metric, Outbox, Part
from tests.store.lab import Lab


def test_a_job_runs_from_submit_to_success(lab: Lab) -> None:
    job = lab.submit()
    assert (job.state, job.cpu_slots, job.epoch, job.version) == (JobState.queued, 2, 0, 1)
    lease = lab.place(job)
    assert job.state is JobState.scheduled
    assert lease.epoch == 1
    message = lab.session.scalars(select(Outbox)).one()
    assert message.payload == {"attempt_id": str(lease.attempt), "epoch": 1}
    node = lab.session.scalars(select(Part)).one().node_id
    assert message.queue == f"node.{node}"
    assert attempts.claim(lab.session, lease.attempt, 1, node) == lease
    work = attempts.adopt(lab.session, lease, 7, 8, 9, "b")
    assert (work.kind, len(work.devices), work.orders.desired) == ("pretrain", 2, Desired.run)
    assert work.inputs["dataset"] == {"path": "/data/moving", "sha256": "0" * 64}
    assert attempts.ready(lab.session, lease)
    assert job.state is JobState.running
    lab.save(job, lease)
    lab.finish(lease)
    assert job.state is JobState.succeeded
    assert lab.leased() == 0
    assert tries.of_job(lab.session, job.id)[0]["reason"] == "ok"


def test_who_was_given_up_for_lost_changes_nothing(lab: Lab) -> None:
    job = lab.submit()
    old = lab.run(job)
    assert attempts.give_up(lab.session, old.attempt, Reason.worker_lost, release=True)
    assert job.state is JobState.queued
    new = lab.run(job)
    assert new.epoch == old.epoch + 1
    for write in (
        lambda: fence.beat(lab.session, old, 0, 5),
        lambda: attempts.ready(lab.session, old),
        lambda: attempts.stopping(lab.session, old),
        lambda: attempts.finish(lab.session, old, Reason.ok),
        lambda: attempts.adopt(lab.session, old, 1, 1, 1, "b"),
        lambda: fence.orders(lab.session, old),
    ):
        with pytest.raises(Fenced):
            write()
    assert lab.session.get_one(Part, (new.attempt, 0)).events_offset == 0
    assert job.state is JobState.running


def test_a_lease_with_a_wrong_epoch_is_fenced(lab: Lab) -> None:
    lease = lab.run(lab.submit())
    with pytest.raises(Fenced):
        fence.beat(lab.session, lease._replace(epoch=lease.epoch + 1), 0, 1)


def test_a_commit_that_had_arrived_is_recognised(lab: Lab) -> None:
    lease = lab.run(lab.submit())
    fence.beat(lab.session, lease, 0, 100)
    with pytest.raises(AlreadyRecorded) as caught:
        fence.beat(lab.session, lease, 0, 100)
    assert caught.value.offset == 100


def test_only_one_delivery_claims(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.place(job)
    node = lab.session.scalars(select(Part)).one().node_id
    assert attempts.claim(lab.session, lease.attempt, 1, uuid.uuid4()) is None
    assert attempts.claim(lab.session, lease.attempt, 2, node) is None
    assert attempts.claim(lab.session, lease.attempt, 1, node) == lease
    assert attempts.claim(lab.session, lease.attempt, 1, node) is None


def test_only_one_supervisor_adopts(lab: Lab) -> None:
    lease = lab.claim(lab.submit())
    attempts.adopt(lab.session, lease, 1, 1, 1, "b")
    with pytest.raises(AlreadyAdopted):
        attempts.adopt(lab.session, lease, 2, 2, 1, "b")


def test_the_database_refuses_a_second_lease_of_a_device(lab: Lab) -> None:
    first, second = lab.submit(), lab.submit()
    lab.place(first)
    node = lab.session.scalars(select(Part)).one().node_id
    device = lab.session.scalars(select(Device)).first()
    assert device is not None
    with pytest.raises(IntegrityError, match="uq_gpu_leases_live"), lab.session.begin_nested():
        attempts.place(lab.session, second.id, [(node, [device])])


def test_a_cancelled_job_is_not_placed(lab: Lab) -> None:
    job = lab.submit()
    job.state = JobState.cancelled
    lab.session.flush()
    assert attempts.place(lab.session, job.id, [(uuid.uuid4(), [])]) is None


def test_leftovers_keep_their_devices_until_they_are_seen_empty(lab: Lab) -> None:
    lease = lab.run(lab.submit())
    attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=False)
    node = lab.session.get_one(Part, (lease.attempt, 0)).node_id
    assert lab.leased() == 2
    assert attempts.leftover(lab.session, node) == [lease.attempt]
    assert lab.release(lease.attempt) == 2
    assert attempts.leftover(lab.session, node) == []
    assert lab.leased() == 0


def test_devices_of_a_living_attempt_are_not_released(lab: Lab) -> None:
    lease = lab.run(lab.submit())
    assert lab.release(lease.attempt) == 0
    assert lab.leased() == 2


def test_ending_an_attempt_ends_all_its_rows(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.finish(lease, Reason.data_error, detail="a broken file", log_tail="Traceback")
    attempt = tries.newest(lab.session, job.id)
    assert attempt is not None
    assert (attempt.state, attempt.reason) == (AttemptState.exited, "data_error")
    assert lab.session.get_one(Part, (lease.attempt, 0)).state is PartState.exited
    assert (job.state, job.reason, job.detail, job.log_tail) == (
        JobState.failed, "data_error", "a broken file", "Traceback",
    )  # fmt: skip


def test_what_ended_well_without_a_result_has_failed(lab: Lab) -> None:
    job = lab.submit("retrieval")
    lab.finish(lab.run(job))
    assert (job.state, job.reason) == (JobState.failed, "user_error")
    assert "no result" in (job.detail or "")


def test_a_late_tick_waits_for_the_reconciler_and_then_writes_nothing(open_lab: Lab) -> None:
    lab = open_lab
    lease = lab.run(lab.submit())
    lab.session.commit()
    outcome: list[object] = []

    def tick() -> None:
        with database.sessions() as late:
            try:
                fence.beat(late, lease, 0, 10)
                record.record(late, lease, [Metrics(step=1, values={"loss": 1.0})])
                late.commit()
                outcome.append("written")
            except Fenced:
                outcome.append("fenced")

    with database.sessions() as reconciler:
        attempts.give_up(reconciler, lease.attempt, Reason.worker_lost, release=True)
        thread = threading.Thread(target=tick)
        thread.start()
        thread.join(0.3)
        assert outcome == []  # it waits for the row's lock
        reconciler.commit()
    thread.join(10)
    assert outcome == ["fenced"]
    assert lab.session.scalar(select(func.count()).select_from(Metric)) == 0


def test_a_supervisor_that_says_it_again_is_the_same_one(lab: Lab) -> None:
    """Its commit arrived, the answer was lost: neither adoption nor the barrier sees a second one."""
    lease = lab.claim(lab.submit())
    attempts.adopt(lab.session, lease, 7, 8, 9, "b")
    assert attempts.adopt(lab.session, lease, 7, 8, 9, "b").lease == lease
    with pytest.raises(AlreadyAdopted):
        attempts.adopt(lab.session, lease, 7, 9, 9, "b")  # the pid is given out again, to another process
    assert attempts.ready(lab.session, lease)
    went = lab.session.get_one(Attempt, lease.attempt).go_at
    assert attempts.ready(lab.session, lease)
    part = lab.session.get_one(Part, (lease.attempt, 0), populate_existing=True)
    assert part.state is PartState.running
    assert lab.session.get_one(Attempt, lease.attempt).go_at == went
