"""One attempt on two nodes: together through the barrier, one end for all, and devices freed node by node."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from store import attempts, ends, fence, reconciler, scheduler, tries, verbs
from store.ends import Reason
from store.errors import Fenced
from store.fence import Lease
from store.states import AttemptState, Desired, JobState, PartState
from store.tables import Attempt, DeviceLease, Job, Leader, Node, Outbox, Part
from tests.store.lab import Lab


@pytest.fixture
def pair(open_lab: Lab) -> Lab:
    """The lab's node `here` and one `there`, whose address comes first: it has part 0."""
    there = open_lab.node("there")
    open_lab.session.execute(update(Node).values(address="10.0.0.2"))
    open_lab.session.execute(update(Node).where(Node.id == there.id).values(address="10.0.0.1"))
    open_lab.session.commit()
    return open_lab


def placed(lab: Lab) -> tuple[Job, list[Lease]]:
    job = lab.submit(resources={"cpu_slots": 2, "nodes": 2})
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1
    lab.session.rollback()
    attempt = tries.newest(lab.session, job.id)
    assert attempt is not None
    return lab.again(job), [Lease(attempt.id, attempt.epoch, part) for part in range(2)]


def taken_up(lab: Lab, *leases: Lease) -> None:
    for lease in leases:
        node = lab.session.get_one(Part, (lease.attempt, lease.part)).node_id
        assert attempts.claim(lab.session, lease.attempt, lease.epoch, node) == lease
        assert attempts.adopt(lab.session, lease, 1, 1, 1, "b").nodes == 2


def running(lab: Lab) -> tuple[Job, list[Lease]]:
    job, leases = placed(lab)
    taken_up(lab, *leases)
    assert not attempts.ready(lab.session, leases[0], "10.0.0.1:4711")
    assert job.state is JobState.scheduled
    assert fence.orders(lab.session, leases[1]).go_at is None
    assert attempts.ready(lab.session, leases[1])
    return job, leases


def attempt_of(lab: Lab, lease: Lease) -> Attempt:
    return lab.session.get_one(Attempt, lease.attempt, populate_existing=True)


def test_a_pass_places_equal_parts_in_the_order_of_addresses_with_a_message_each(pair: Lab) -> None:
    job, leases = placed(pair)
    parts = pair.session.execute(
        select(Part.part, Node.name).join(Node, Node.id == Part.node_id).order_by(Part.part)
    ).all()
    assert [tuple(row) for row in parts] == [(0, "there"), (1, "here")]
    assert pair.session.scalars(select(DeviceLease.part).order_by(DeviceLease.part)).all() == [0, 1]
    queues = set(pair.session.scalars(select(Outbox.queue)))
    assert queues == {f"node.{node}" for node in pair.session.scalars(select(Part.node_id))}
    assert (job.state, leases[0].epoch) == (JobState.scheduled, 1)


def test_nobody_goes_before_all_are_ready_and_all_know_where_to_meet(pair: Lab) -> None:
    job, leases = running(pair)
    orders = [fence.orders(pair.session, lease) for lease in leases]
    assert {one.rdzv_endpoint for one in orders} == {"10.0.0.1:4711"}
    assert orders[0].go_at is not None
    assert job.state is JobState.running
    assert set(pair.session.scalars(select(Part.state))) == {PartState.running}


def test_one_part_over_stops_the_others_soon_and_costs_one_restart(pair: Lab) -> None:
    job, leases = running(pair)
    pair.finish(leases[1], Reason.supervisor_lost)
    orders = fence.orders(pair.session, leases[0])
    assert (orders.desired, orders.stop_for) == (Desired.stop, None)
    assert 0 < (orders.stop_in_s or 0) <= 15
    assert (job.state, pair.leased()) == (JobState.running, 1)
    pair.finish(leases[0], Reason.drained)
    attempt = attempt_of(pair, leases[0])
    assert (attempt.state, attempt.reason) == (AttemptState.exited, "supervisor_lost")
    assert (job.state, job.infra_restarts, pair.leased()) == (JobState.queued, 1, 0)


def test_the_first_reason_counts_unless_another_part_knows_better(pair: Lab) -> None:
    job, leases = running(pair)
    pair.finish(leases[0], Reason.supervisor_lost, detail="another rank went away")
    pair.finish(leases[1], Reason.oom, detail="out of memory")
    assert (job.state, job.reason, job.detail) == (JobState.failed, "oom", "out of memory")
    assert not ends.tells_more(Reason.oom, than=Reason.data_error)
    assert not ends.tells_more(Reason.drained, than=Reason.supervisor_lost)
    assert not ends.tells_more(Reason.ok, than=Reason.supervisor_lost)
    assert ends.tells_more(Reason.oom, than=Reason.ok)
    assert not ends.tells_more(Reason.ok, than=Reason.ok)


def test_a_part_that_nobody_took_up_ends_with_the_one_that_was(pair: Lab) -> None:
    job, leases = placed(pair)
    taken_up(pair, leases[0])
    verbs.cancel(pair.session, job.id, pair.principal)
    assert job.state is JobState.stopping
    pair.finish(leases[0], Reason.cancelled)
    assert (job.state, pair.leased()) == (JobState.cancelled, 0)


def test_a_part_that_falls_silent_ends_all_and_each_node_frees_its_own(pair: Lab) -> None:
    job, leases = running(pair)
    pair.session.commit()
    reconciler.run_pass("me")
    long_ago = func.now() - timedelta(seconds=121)
    pair.session.execute(update(Leader).values(quiet_until=long_ago))
    pair.session.execute(update(Part).where(Part.part == 1).values(heartbeat_at=long_ago))
    pair.session.execute(update(Node).where(Node.name == "here").values(heartbeat_at=long_ago))
    pair.session.commit()
    done = reconciler.run_pass("me").done
    assert done == {"lost": 1, "nodes_lost": 1, "released": 1}, "the silent node's; the other ends what is left first"
    pair.session.rollback()
    pair.session.expire_all()
    assert (job.state, job.infra_restarts) == (JobState.queued, 1)
    there = pair.session.scalars(select(Node.id).where(Node.name == "there")).one()
    assert attempts.leftover(pair.session, there) == [leases[0].attempt]
    assert attempts.release(pair.session, leases[0].attempt, there) == 1
    for lease in leases:
        with pytest.raises(Fenced):
            fence.beat(pair.session, lease, 0, 0)


def test_a_barrier_that_one_never_reaches_lets_all_go_and_notes_who_was_absent(pair: Lab) -> None:
    job, leases = placed(pair)
    taken_up(pair, leases[0])
    attempts.ready(pair.session, leases[0], "10.0.0.1:4711")
    pair.session.execute(update(Part).where(Part.part == 0).values(ready_at=func.now() - timedelta(seconds=61)))
    pair.session.commit()
    assert reconciler.run_pass("me").done == {"gang_timeout": 1}
    pair.session.rollback()
    pair.session.expire_all()
    assert (job.state, job.reason, job.rejections, job.infra_restarts) == (JobState.queued, "gang_timeout", 1, 0)
    noted = {name: count for name, count in pair.session.execute(select(Node.name, Node.unclaimed))}
    assert noted == {"here": 1, "there": 0}
