"""What people ask of jobs that are there; asking again changes nothing, and what makes no sense is refused in words."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func

from store import attempts, fence, scheduler, verbs
from store.ends import Reason
from store.errors import Forbidden, IllegalMove
from store.keys import Role
from store.states import Desired, JobState, StopFor
from tests.store.lab import Lab


def test_a_held_job_is_not_placed_until_it_is_released(open_lab: Lab) -> None:
    lab = open_lab
    job = lab.submit("retrieval")
    assert verbs.hold(lab.session, job.id, lab.principal).state is JobState.held
    assert job.waiting is not None
    assert job.waiting["text"] == "held by admin; release lets it wait again"
    version = job.version
    assert verbs.hold(lab.session, job.id, lab.principal).version == version
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 0
    assert verbs.release(lab.session, job.id, lab.principal).state is JobState.queued
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1


def test_a_job_may_be_held_from_the_start(lab: Lab) -> None:
    job = lab.submit("retrieval", queue={"hold": True})
    assert (job.state, (job.waiting or {})["code"]) == (JobState.held, "held")
    assert verbs.cancel(lab.session, job.id, lab.principal).state is JobState.cancelled


def test_what_is_released_waits_for_its_parents_or_goes_with_them(lab: Lab) -> None:
    trained = lab.submit()
    found = [lab.submit("retrieval", checkpoint={"job": str(trained.id)}) for _ in range(2)]
    for job in found:
        verbs.hold(lab.session, job.id, lab.principal)
    first = verbs.release(lab.session, found[0].id, lab.principal)
    assert (first.state, (first.waiting or {})["code"]) == (JobState.blocked, "dependency")
    verbs.cancel(lab.session, trained.id, lab.principal)
    assert (found[0].state, found[1].state) == (JobState.cancelled, JobState.held)
    late = verbs.release(lab.session, found[1].id, lab.principal)
    assert (late.state, late.reason) == (JobState.cancelled, "dependency_failed")


def test_a_paused_job_gives_its_devices_back_and_keeps_its_age(lab: Lab) -> None:
    job = lab.submit()
    job.submitted_at = func.now() - timedelta(hours=3)
    lab.session.flush()
    lab.session.refresh(job)
    age = job.submitted_at
    lease = lab.run(job)
    lab.save(job, lease)
    verbs.pause(lab.session, job.id, lab.principal)
    orders = fence.orders(lab.session, lease)
    assert (job.state, orders.desired, orders.stop_for) == (JobState.stopping, Desired.stop, StopFor.pause)
    version = job.version
    assert verbs.pause(lab.session, job.id, lab.principal).version == version
    attempts.stopping(lab.session, lease)
    lab.finish(lease, Reason.paused)
    assert (job.state, lab.leased(), job.ended_at) == (JobState.paused, 0, None)
    assert verbs.pause(lab.session, job.id, lab.principal).state is JobState.paused
    verbs.resume(lab.session, job.id, lab.principal)
    assert (job.state, job.submitted_at, job.resume_checkpoint is not None) == (JobState.queued, age, True)
    assert verbs.resume(lab.session, job.id, lab.principal).state is JobState.queued


def test_a_placed_job_that_nobody_took_up_is_paused_at_once(lab: Lab) -> None:
    job = lab.submit()
    lab.place(job)
    verbs.pause(lab.session, job.id, lab.principal)
    assert (job.state, lab.leased()) == (JobState.paused, 0)


def test_a_job_that_breaks_while_it_is_asked_to_pause_is_paused(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    verbs.pause(lab.session, job.id, lab.principal)
    attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=True)
    assert (job.state, job.not_before) == (JobState.paused, None)


def test_a_cancel_is_stronger_than_a_pause(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    verbs.pause(lab.session, job.id, lab.principal)
    verbs.cancel(lab.session, job.id, lab.principal)
    with pytest.raises(IllegalMove):
        verbs.pause(lab.session, job.id, lab.principal)
    lab.finish(lease, Reason.cancelled)
    assert job.state is JobState.cancelled


@pytest.mark.parametrize(
    ("verb", "says", "allowed"),
    [
        (verbs.pause, "a job that is queued cannot be paused", ["cancel", "hold"]),
        (verbs.release, None, None),  # it waits already
        (verbs.resume, None, None),
    ],
)
def test_a_verb_for_a_waiting_job_is_done_already_or_refused(
    lab: Lab, verb: Any, says: str | None, allowed: list[str] | None
) -> None:
    job = lab.submit()
    if says is None:
        assert verb(lab.session, job.id, lab.principal).state is JobState.queued
        return
    with pytest.raises(IllegalMove, match=says) as caught:
        verb(lab.session, job.id, lab.principal)
    assert caught.value.members["allowed"] == allowed


def test_no_verb_moves_a_final_job_or_anothers(lab: Lab) -> None:
    done = verbs.cancel(lab.session, lab.submit().id, lab.principal)
    theirs = lab.submit()
    eva = lab.someone("eva")
    for verb in (verbs.pause, verbs.resume, verbs.hold, verbs.release):
        with pytest.raises(IllegalMove):
            verb(lab.session, done.id, lab.principal)
        with pytest.raises(Forbidden):
            verb(lab.session, theirs.id, eva)


def test_what_is_changed_moves_the_job_in_line_and_not_its_spec(lab: Lab) -> None:
    first, second = lab.submit("retrieval"), lab.submit("retrieval")
    spec, version = dict(second.spec), second.version
    change = {"priority": "high", "labels": {"table": "4"}, "name": "new"}
    verbs.change(lab.session, second.id, lab.principal, change)
    assert (second.priority, second.labels, second.name) == (1, {"table": "4"}, "new")
    assert second.spec == spec
    assert second.version == version + 1
    assert verbs.change(lab.session, second.id, lab.principal, change).version == version + 1  # nothing new
    assert first.priority == 2


def test_urgent_is_for_operators_and_a_final_job_keeps_its_priority(lab: Lab) -> None:
    eva = lab.someone("eva")
    job = lab.submit(by=eva)
    with pytest.raises(Forbidden, match="urgent"):
        verbs.change(lab.session, job.id, eva, {"priority": "urgent"})
    assert eva.role is Role.submitter
    verbs.cancel(lab.session, job.id, eva)
    with pytest.raises(IllegalMove, match="name and labels"):
        verbs.change(lab.session, job.id, eva, {"priority": "low"})
    assert verbs.change(lab.session, job.id, eva, {"name": "kept for its plots"}).name == "kept for its plots"
