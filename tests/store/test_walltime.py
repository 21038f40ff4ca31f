"""A job runs for as long as it may, over all its attempts, and no fault of a machine takes any of that."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import func, update

from store import attempts, fence, jobs, line, reconciler, scheduler, verbs
from store.ends import Reason
from store.errors import Forbidden, IllegalMove, InvalidSpec
from store.fence import Lease
from store.states import JobState
from store.tables import Attempt, Checkpoint, Job, Leader
from tests.store.lab import Lab


def limited(lab: Lab, hours: float = 10, **changes: object) -> Job:
    return lab.submit(queue={"walltime_s": 3600 * hours, "max_restarts": 0}, **changes)


def has_run(lab: Lab, lease: Lease, hours: float, saved_after: float | None = None) -> None:
    """Move an attempt's start into the past, and its checkpoints to so many hours after it."""
    began = func.now() - timedelta(hours=hours)
    lab.session.execute(update(Attempt).where(Attempt.id == lease.attempt).values(running_at=began))
    if saved_after is not None:
        at = began + timedelta(hours=saved_after)
        lab.session.execute(update(Checkpoint).where(Checkpoint.attempt_id == lease.attempt).values(created_at=at))


def test_what_is_left_falls_while_it_runs_and_from_attempt_to_attempt(lab: Lab) -> None:
    job = limited(lab)
    lease = lab.run(job)
    has_run(lab, lease, 4)
    assert fence.orders(lab.session, lease).left_s == pytest.approx(6 * 3600)
    lab.finish(lease, Reason.preempted)
    assert (job.state, job.used_s) == (JobState.queued, pytest.approx(4 * 3600))
    again = lab.run(job)
    has_run(lab, again, 1)
    assert fence.beat(lab.session, again, 0, 0).left_s == pytest.approx(5 * 3600)


def test_a_job_without_a_limit_has_none(lab: Lab) -> None:
    lease = lab.run(lab.submit())
    assert fence.orders(lab.session, lease).left_s is None


def test_work_that_a_lost_machine_took_is_given_back(lab: Lab) -> None:
    job = limited(lab)
    lease = lab.run(job)
    lab.save(job, lease)
    has_run(lab, lease, 4, saved_after=3)
    attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=True)
    assert job.used_s == pytest.approx(3 * 3600)
    second = lab.run(job)
    has_run(lab, second, 9)  # nothing saved
    attempts.give_up(lab.session, second.attempt, Reason.supervisor_lost, release=True)
    assert (job.used_s, job.state) == (pytest.approx(3 * 3600), JobState.queued)


def test_a_job_that_never_ran_has_used_nothing(lab: Lab) -> None:
    job = limited(lab)
    attempts.give_up(lab.session, lab.claim(job).attempt, Reason.launch_rejected, release=True)
    assert (job.used_s, job.state) == (0, JobState.queued)


def test_who_has_used_it_all_is_not_queued_again(lab: Lab) -> None:
    job = limited(lab)
    lease = lab.run(job)
    has_run(lab, lease, 10.1)
    lab.finish(lease, Reason.preempted)
    assert (job.state, job.reason, job.detail) == (JobState.failed, "walltime", "Its walltime is used up.")
    assert "--walltime" in (job.hint or "")


def test_one_whose_time_is_over_goes_on_as_a_retry_with_more(lab: Lab) -> None:
    job = limited(lab)
    lease = lab.run(job)
    lab.save(job, lease)
    lab.finish(lease, Reason.walltime)
    assert (job.state, job.reason) == (JobState.failed, "walltime")
    more = jobs.retry(lab.session, job.id, lab.principal, walltime_s=7200)
    assert (more.walltime_s, more.spec["queue"]["walltime_s"]) == (7200, 7200)
    assert (more.used_s, more.resume_checkpoint) == (0, job.resume_checkpoint)
    verbs.cancel(lab.session, more.id, lab.principal)
    with pytest.raises(InvalidSpec, match="must be more than grace_s"):
        jobs.retry(lab.session, job.id, lab.principal, walltime_s=60)
    assert jobs.retry(lab.session, job.id, lab.principal).walltime_s == 36_000


def test_a_limit_that_leaves_no_time_to_save_is_refused(lab: Lab) -> None:
    with pytest.raises(ValidationError, match="walltime_s must be more than grace_s"):
        lab.submit(queue={"walltime_s": 100})
    assert lab.submit(queue={"walltime_s": 100, "grace_s": 10}).walltime_s == 100
    with pytest.raises(InvalidSpec, match="must be more than grace_s"):
        verbs.change(lab.session, limited(lab).id, lab.principal, {"walltime_s": 119})


def test_more_time_for_a_job_that_runs_is_for_operators(lab: Lab) -> None:
    eva = lab.someone("eva")
    job = lab.submit(by=eva, queue={"walltime_s": 3600})
    assert verbs.change(lab.session, job.id, eva, {"walltime_s": 7200}).walltime_s == 7200
    lease = lab.run(job)
    assert verbs.change(lab.session, job.id, eva, {"walltime_s": 1800}).walltime_s == 1800
    for more in (3600.0, None):
        with pytest.raises(Forbidden, match="operators"):
            verbs.change(lab.session, job.id, eva, {"walltime_s": more})
    assert verbs.change(lab.session, job.id, lab.principal, {"walltime_s": None}).walltime_s is None
    lab.save(job, lease)
    lab.finish(lease)
    with pytest.raises(IllegalMove):
        verbs.change(lab.session, job.id, lab.principal, {"walltime_s": 7200})


def test_the_line_plans_with_it(lab: Lab) -> None:
    lab.node(slots=4)
    lease = lab.run(limited(lab))
    has_run(lab, lease, 7)
    limited(lab, hours=2)
    queued = line.queued(lab.session).pending[0]
    running = line.running(lab.session)[0]
    assert (queued.runtime_s, queued.guessed) == (7200, False)
    assert (running.left_s, running.guessed) == (pytest.approx(3 * 3600), False)


def test_a_short_job_fills_in_where_a_long_one_would_delay_the_first(open_lab: Lab) -> None:
    lab = open_lab
    lab.run(limited(lab, hours=2, resources={"cpu_slots": 1}))
    lab.submit(resources={"cpu_slots": 2})
    waiting = []
    for hours in (3, 1):
        lab.session.commit()  # each is younger than the one before
        waiting.append(limited(lab, hours=hours, resources={"cpu_slots": 1}))
    lab.session.commit()
    assert scheduler.run_pass("me").placed == 1
    lab.session.expire_all()
    assert [lab.again(job).state for job in waiting] == [JobState.queued, JobState.scheduled]


def test_a_supervisor_that_lets_it_run_on_is_given_up(open_lab: Lab) -> None:
    lab = open_lab
    job = limited(lab)
    lease = lab.run(job)
    lab.session.commit()
    assert reconciler.run_pass("me").leading
    lab.session.execute(update(Leader).values(quiet_until=func.now() - timedelta(seconds=1)))
    for over_s, done in ((50, {}), (70, {"overdue": 1})):
        has_run(lab, lease, 10 + over_s / 3600)
        lab.session.commit()
        assert reconciler.run_pass("me").done == done
    lab.session.expire_all()
    assert lab.again(job).state in (JobState.queued, JobState.failed)
