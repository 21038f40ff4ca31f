"""One pass places all of a job or nothing, by the policy, and says why others wait."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from store import database, fence, jobs, leaders, line, nodes, quotas, scheduler, tries, verbs
from store.ends import Reason
from store.errors import QuotaExceeded
from store.leaders import SCHEDULER
from store.settings import settings
from store.states import DeviceState, JobState, NodeState, StopFor
from store.tables import Attempt, Device, DeviceLease, Job, Leader, Node, Project
from tests.store.lab import Lab


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
    assert waiting.waiting is not None
    text = waiting.waiting.pop("text")
    assert text.startswith("needs 1 CPU slot on one node; most free: 0 on here; job ")  # nobody knows how long it runs
    assert waiting.waiting == {"code": "resources", "expected_start": None}
    live = waiting.live
    assert scheduler.run_pass("me")[:2] == (True, 0)
    lab.session.rollback()
    assert lab.session.get_one(Job, young.id, populate_existing=True).live == live  # nothing new to say


def test_history_tells_when_the_first_in_line_should_start(open_lab: Lab) -> None:
    lab = open_lab
    for seconds in (100, 90, 100):
        done = lab.submit("retrieval")
        ended = func.now() - timedelta(hours=2)
        took = {"state": JobState.succeeded, "started_at": ended - timedelta(seconds=seconds), "ended_at": ended}
        lab.session.execute(update(Job).where(Job.id == done.id).values(**took))
    wide = [lab.submit("retrieval", resources={"cpu_slots": 2}) for _ in range(2)]
    lab.session.commit()
    assert scheduler.run_pass("me")[:3] == (True, 1, 1)
    placed, waits = sorted(wide, key=lambda job: states(lab, job) == ["queued"])
    assert waits.waiting is not None
    assert f"when job {placed.id} should end" in waits.waiting["text"]
    until = datetime.fromisoformat(waits.waiting["expected_start"]) - datetime.now(UTC)
    assert 100 < until.total_seconds() <= 150 + 60  # half as long again, in whole minutes


def test_who_used_more_of_late_waits_longer(open_lab: Lab) -> None:
    """A lease of last week counts half of today's, and one of another project counts there."""
    lab = open_lab
    lab.session.add(Project(name="other"))
    ana, ben = lab.someone("ana"), lab.someone("ben")
    lease = lab.place(lab.submit("retrieval", by=ana, resources={"cpu_slots": 2}))
    lab.session.commit()
    hour, week = timedelta(hours=1), timedelta(days=7)
    now = func.now()
    held = update(DeviceLease).where(DeviceLease.attempt_id == lease.attempt)
    lab.session.execute(held.values(leased_at=now - week - hour, released_at=now - week, weight=1.0))
    used = line.used(lab.session)
    assert used[("default", "ana")] == pytest.approx(2 * 3600 / 2, rel=0.01)
    older = lab.submit("retrieval", by=ana)
    older.submitted_at -= timedelta(seconds=60)
    younger, elsewhere = lab.submit("retrieval", by=ben), lab.submit("retrieval", by=ana, queue={"project": "other"})
    lab.session.flush()
    assert line.order(lab.session) == [elsewhere.id, younger.id, older.id]
    assert [jobs.position(lab.session, one) for one in (older, younger)] == [3, 2]
    assert [job.id for job in jobs.queue(lab.session)] == line.order(lab.session)


def test_a_quota_keeps_jobs_of_its_user_waiting_and_says_so(open_lab: Lab) -> None:
    lab = open_lab
    lab.node("gpus", slots=1, gpus=4)
    quotas.put(lab.session, "user:admin", {"max_gpus": 1, "max_queued": 3}, lab.principal)
    made = [lab.submit("retrieval") for _ in range(3)]
    with pytest.raises(QuotaExceeded, match="the limit is 3"):
        lab.submit("retrieval")
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1
    waits = [one for one in made if states(lab, one) == ["queued"]]
    assert [(one.waiting or {})["text"] for one in waits] == ["your running jobs hold 1 of the 1 GPUs allowed"] * 2
    quotas.remove(lab.session, "user:admin", lab.principal)
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 2


def test_a_low_job_saves_and_leaves_for_a_higher_tier_and_keeps_its_place_in_line(open_lab: Lab) -> None:
    lab = open_lab
    low = lab.submit("retrieval", queue={"priority": "low"}, resources={"cpu_slots": 2})
    lease = lab.run(low)
    long_ago = func.now() - timedelta(minutes=11)
    lab.session.execute(update(Attempt).values(created_at=long_ago))
    first = lab.submit("retrieval")
    lab.session.execute(update(Job).values(submitted_at=long_ago))
    lab.session.commit()
    assert scheduler.run_pass("me")[:3] == (True, 0, 1)
    assert states(lab, low, first) == ["stopping", "queued"]
    assert (first.waiting or {})["text"].endswith(f"asked to save and leave for it: job {low.id}")
    assert fence.orders(lab.session, lease).stop_for is StopFor.preempt
    assert scheduler.run_pass("me").placed == 0  # it waits for the devices, and asks nobody else
    with database.sessions.begin() as session:
        Lab(session, lab.principal).finish(lease, Reason.preempted)
    assert scheduler.run_pass("me").placed == 1
    assert states(lab, low, first) == ["queued", "scheduled"]
    assert (low.reason, low.infra_restarts, low.user_restarts) == ("preempted", 0, 0)


def test_a_lab_says_how_long_the_first_waits_and_a_job_runs_before_one_leaves_for_the_other(
    open_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = open_lab
    low = lab.submit("retrieval", queue={"priority": "low"}, resources={"cpu_slots": 2})
    lab.run(low)
    first = lab.submit("retrieval")
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 0
    assert states(lab, low, first) == ["running", "queued"]
    for name in ("CMAC_PREEMPT_AFTER_S", "CMAC_LEAST_RUN_S"):
        monkeypatch.setenv(name, "0")
    settings.cache_clear()
    assert scheduler.run_pass("me").placed == 0
    assert states(lab, low, first) == ["stopping", "queued"]


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        (Reason.worker_lost, "restart 1 after worker_lost; "),
        (Reason.launch_rejected, "launch 2 after launch_rejected; "),
    ],
)
def test_who_backs_off_is_told_which_try_comes_next_and_why(open_lab: Lab, reason: Reason, says: str) -> None:
    lab = open_lab
    job = lab.submit("retrieval")
    lab.finish(lab.run(job), reason)
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 0
    lab.session.rollback()
    waiting = lab.again(job).waiting or {}
    assert (waiting["code"], waiting["text"].startswith(f"{says}next try at ")) == ("backoff", True)


def test_a_drained_machine_gets_nothing_new_and_its_jobs_go_back_to_the_queue(open_lab: Lab) -> None:
    lab = open_lab
    job = lab.submit("retrieval")
    lease = lab.run(job)
    node = lab.session.scalars(select(Node)).one()
    nodes.set_state(lab.session, node.id, NodeState.draining, "new fan")
    lab.session.commit()
    assert fence.orders(lab.session, lease).stop_for is StopFor.drain
    lab.finish(lease, Reason.drained)
    lab.session.commit()
    assert (job.state, job.infra_restarts) == (JobState.queued, 0)
    assert scheduler.run_pass("me").placed == 0
    nodes.set_state(lab.session, node.id, NodeState.ready)
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1


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
    attempt = tries.newest(lab.session, first.id)
    assert attempt is not None
    with database.sessions.begin() as session:
        verbs.cancel(session, first.id, lab.principal)
    assert scheduler.run_pass("me").placed == 1
    assert states(lab, first, second) == [JobState.cancelled, "scheduled"]
    live = select(func.count()).select_from(DeviceLease).where(DeviceLease.released_at.is_(None))
    assert lab.session.scalar(live) == 2


def test_a_job_that_the_database_refuses_keeps_nobody_else_waiting(open_lab: Lab) -> None:
    """Its rows contradict each other: queued, and an attempt of it lives."""
    lab = open_lab
    wrong, right = lab.submit("retrieval"), lab.submit("retrieval")
    right.submitted_at = wrong.submitted_at + timedelta(seconds=1)
    lab.session.add(Attempt(job_id=wrong.id, epoch=7))
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1
    assert states(lab, wrong, right) == ["queued", "scheduled"]
