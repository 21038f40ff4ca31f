"""The plan is fair within its rules, and one pass places all of a job or nothing."""

import threading
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from store import attempts, database, jobs, leaders, scheduler
from store.leaders import SCHEDULER
from store.scheduler import Free, Pending, plan
from store.states import DeviceKind, DeviceState, JobState, NodeState
from store.tables import Attempt, Device, DeviceLease, Job, Leader, Node
from tests.store.lab import Lab

CPU, GPU = DeviceKind.cpu, DeviceKind.gpu
IDS = st.uuids()


def offers(name: str, kind: DeviceKind, free: int, total: int | None = None, foreign: int = 0) -> Free:
    devices = tuple(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{kind}/{i}") for i in range(free))
    return Free(uuid.uuid5(uuid.NAMESPACE_URL, name), name, kind, devices, free if total is None else total, foreign)


def job(devices: int, kind: DeviceKind = GPU, **more: object) -> Pending:
    return Pending(uuid.uuid4(), kind, devices, **more)  # type: ignore[arg-type]


NODES = st.lists(
    st.tuples(st.sampled_from([CPU, GPU]), st.integers(0, 8), st.integers(0, 4)), min_size=0, max_size=5
).map(lambda drawn: [offers(f"n{i}", kind, free, free + held) for i, (kind, free, held) in enumerate(drawn)])
JOBS = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from([CPU, GPU]), st.sampled_from([0.0, 0.0, 5.0])), max_size=12
).map(lambda drawn: [job(devices, kind, wait_s=wait) for devices, kind, wait in drawn])


@given(JOBS, NODES)
def test_a_plan_gives_each_device_once_and_every_job_a_place_or_a_reason(
    pending: list[Pending], nodes: list[Free]
) -> None:
    made = plan(pending, nodes)
    given_out = [device for placement in made.placements for device in placement.devices]
    assert len(set(given_out)) == len(given_out)
    wanted = {one.id: one for one in pending}
    for placement in made.placements:
        (node,) = [n for n in nodes if n.node == placement.node and n.kind is wanted[placement.job].kind]
        assert set(placement.devices) <= set(node.free)
        assert len(placement.devices) == wanted[placement.job].devices
    assert {p.job for p in made.placements} | set(made.waiting) == set(wanted)
    assert not {p.job for p in made.placements} & set(made.waiting)


@given(JOBS, NODES)
def test_nobody_who_could_run_is_overtaken(pending: list[Pending], nodes: list[Free]) -> None:
    made = plan(pending, nodes)
    placed = {placement.job for placement in made.placements}
    for kind in (CPU, GPU):
        able = [
            one for one in pending
            if one.kind is kind and not one.wait_s and any(n.kind is kind and n.total >= one.devices for n in nodes)
        ]  # fmt: skip
        came = [one.id in placed for one in able]
        assert came == sorted(came, reverse=True)


def test_the_node_with_the_fewest_left_over_is_taken() -> None:
    nodes = [offers("big", GPU, 8), offers("small", GPU, 3)]
    assert plan([job(2)], nodes).placements[0].node == nodes[1].node


def test_a_gang_does_not_start_in_part_and_says_what_is_free() -> None:
    wide, narrow = job(8), job(1)
    made = plan([wide, narrow], [offers("gpu-01", GPU, 3, 8), offers("gpu-02", GPU, 5, 8)])
    assert made.placements == []
    assert made.waiting[wide.id].text == "needs 8 GPUs on one node; most free: 5 on gpu-02"
    assert made.waiting[narrow.id] == ("priority", f"1 job ahead; next is {wide.id}")


def test_the_kinds_do_not_wait_for_each_other() -> None:
    made = plan([job(8), job(1, CPU)], [offers("a", GPU, 0, 8), offers("a", CPU, 1)])
    assert len(made.placements) == 1


def test_who_backs_off_or_cannot_run_here_keeps_nobody_waiting() -> None:
    back, never, ready = job(1, wait_s=3.0, wait_text="restart 1"), job(16), job(1)
    made = plan([back, never, ready], [offers("a", GPU, 1, 8)])
    assert [p.job for p in made.placements] == [ready.id]
    assert made.waiting[back.id] == ("backoff", "restart 1")
    assert made.waiting[never.id].code == "infeasible"


def test_devices_that_others_hold_are_named() -> None:
    wide = job(2)
    made = plan([wide], [offers("gpu-03", GPU, 1, 2, foreign=1)])
    assert made.waiting[wide.id].code == "foreign_process"
    assert "gpu-03" in made.waiting[wide.id].text


def test_long_queues_have_rounded_texts() -> None:
    pending = [job(1) for _ in range(60)]
    made = plan(pending, [offers("a", GPU, 0, 1)])
    assert made.waiting[pending[20].id].text.startswith("20 jobs ahead")
    assert made.waiting[pending[-1].id].text.startswith("more than 50 jobs ahead")


def states(lab: Lab, *jobs: Job) -> list[str]:
    lab.session.rollback()
    return [str(lab.session.get_one(Job, one.id, populate_existing=True).state) for one in jobs]


def test_a_pass_places_by_tier_then_by_age_and_says_why_others_wait(open_lab: Lab) -> None:
    lab = open_lab
    old, young = lab.submit("retrieval"), lab.submit("retrieval")
    urgent = lab.submit("retrieval", queue={"priority": "urgent"})
    young.submitted_at = old.submitted_at + timedelta(seconds=1)
    lab.session.commit()
    assert scheduler.run_pass("me")[:3] == (True, 2, 1)
    assert states(lab, old, young, urgent) == ["scheduled", "queued", "scheduled"]
    waiting = lab.session.get_one(Job, young.id)
    assert waiting.waiting == {
        "code": "resources", "text": "needs 1 CPU slot on one node; most free: 0 on here", "expected_start": None,
    }  # fmt: skip
    live = waiting.live
    assert scheduler.run_pass("me")[:2] == (True, 0)
    lab.session.rollback()
    assert lab.session.get_one(Job, young.id, populate_existing=True).live == live  # nothing new to say


@pytest.mark.parametrize(
    "change",
    [
        update(Node).values(state=NodeState.cordoned),
        update(Node).values(heartbeat_at=func.now() - timedelta(minutes=5)),
        update(Device).values(state=DeviceState.ghost),
        update(Device).values(foreign={"pids": [4121], "memory_mb": 21_000}),
        update(Job).values(not_before=func.now() + timedelta(minutes=5)),
    ],
)
def test_what_is_not_fit_is_not_given_out(open_lab: Lab, change: object) -> None:
    lab = open_lab
    one = lab.submit("retrieval")
    lab.session.execute(change)  # type: ignore[call-overload]
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 0
    assert states(lab, one) == ["queued"]
    waiting = lab.session.get_one(Job, one.id).waiting
    assert waiting is not None
    assert waiting["code"] in ("infeasible", "foreign_process", "backoff")


def test_one_leads_and_another_takes_over_when_it_is_silent(open_lab: Lab) -> None:
    lab = open_lab
    assert scheduler.run_pass("first").leading
    assert not scheduler.run_pass("second").leading
    lab.session.execute(update(Leader).values(expires_at=func.now() - timedelta(seconds=1)))
    lab.session.commit()
    assert scheduler.run_pass("second").leading
    assert lab.session.scalars(select(Leader.term)).one() == 2
    assert not scheduler.run_pass("first").leading


def test_two_that_believe_to_lead_place_once(open_lab: Lab) -> None:
    """The older one finds its term over, whatever it still believes."""
    lab = open_lab
    lab.submit("retrieval", resources={"cpu_slots": 2})
    lab.session.commit()
    with database.sessions.begin() as session:
        old = leaders.lead(session, SCHEDULER, "old")
    assert old is not None
    with database.sessions.begin() as session:
        session.execute(update(Leader).values(expires_at=func.now() - timedelta(seconds=1)))
    with database.sessions.begin() as session:
        new = leaders.lead(session, SCHEDULER, "new")
    assert new is not None
    with database.sessions.begin() as session:
        assert scheduler.place_all(session, old) == (False, 0, 0, 0.0)
    with database.sessions.begin() as session:
        assert scheduler.place_all(session, new).placed == 1
    lab.session.rollback()
    assert lab.session.scalar(select(func.count()).select_from(Attempt)) == 1


def test_many_passes_at_once_break_nothing(open_lab: Lab) -> None:
    lab = open_lab
    made = [lab.submit("retrieval") for _ in range(6)]
    lab.session.commit()
    threads = [threading.Thread(target=scheduler.run_pass, args=("same",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states(lab, *made)) == ["queued"] * 4 + ["scheduled"] * 2
    assert lab.leased() == 2


def test_a_freed_device_is_given_to_the_next(open_lab: Lab) -> None:
    lab = open_lab
    first = lab.submit("pack")
    lab.session.commit()
    second = lab.submit("retrieval", resources={"cpu_slots": 2})
    lab.session.commit()
    scheduler.run_pass("me")
    assert states(lab, first, second) == ["scheduled", "queued"]
    attempt = attempts.newest(lab.session, first.id)
    assert attempt is not None
    with database.sessions.begin() as session:
        jobs.cancel(session, first.id, lab.principal)
    assert scheduler.run_pass("me").placed == 1
    assert states(lab, first, second) == [JobState.cancelled, "scheduled"]
    live = select(func.count()).select_from(DeviceLease).where(DeviceLease.released_at.is_(None))
    assert lab.session.scalar(live) == 2
