"""Parents and children, cancel, retry, lists."""

import uuid
from typing import Any

import pytest
from sqlalchemy import event, select, text

from store import attempts, fence, job_events, jobs, tries, verbs
from store.ends import Reason
from store.errors import AlreadyExists, BadCursor, BadFilter, Forbidden, IllegalMove, NotFound
from store.keys import Principal, Role
from store.settings import settings
from store.states import Desired, JobState, PartState, StopFor
from store.tables import Attempt, JobEvent, Part
from tests.store.lab import Lab


def test_a_child_is_released_with_its_parents_success(lab: Lab) -> None:
    trained = lab.submit()
    child = lab.submit("retrieval", checkpoint={"job": str(trained.id)})
    assert child.state is JobState.blocked
    assert str(trained.id) in child.waiting["text"]
    lab.succeed(trained)
    assert lab.again(child).state is JobState.queued
    work = attempts.adopt(lab.session, lab.claim(child), 1, 1, 1, "b")
    assert work.inputs["checkpoint"]["path"].endswith("epoch-1/checkpoints/step-00000010/state.pt")
    assert work.inputs["cache"] == {"path": str(settings().features_dir), "sha256": None}
    assert work.problem is None


def test_a_child_of_a_failed_parent_is_cancelled_and_so_are_its_own(lab: Lab) -> None:
    trained = lab.submit()
    child = lab.submit("retrieval", checkpoint={"job": str(trained.id)})
    after = {"after": [{"job": str(child.id)}]}
    grandchild = lab.submit("retrieval", queue=after)
    whatever = lab.submit("retrieval", queue={"after": [{"job": str(child.id), "kind": "afterany"}]})
    lab.finish(lab.run(trained), Reason.diverged)
    for job in (child, grandchild):
        assert (lab.again(job).state, job.reason) == (JobState.cancelled, "dependency_failed")
    assert lab.again(whatever).state is JobState.queued


def test_a_child_of_a_finished_parent_does_not_wait(lab: Lab) -> None:
    trained = lab.submit()
    lab.succeed(trained)
    assert lab.submit("retrieval", checkpoint={"job": str(trained.id)}).state is JobState.queued


def test_the_history_of_a_child_of_a_finished_parent_tells_that_it_was_blocked_and_released(lab: Lab) -> None:
    parent = lab.submit()
    lab.succeed(parent)
    child = lab.submit("retrieval", checkpoint={"job": str(parent.id)})
    told = [(event.seq, event.actor, event.data) for event in job_events.after(lab.session, child.id)]
    nothing = {"reason": None, "detail": "", "hint": ""}
    assert told == [
        (1, "admin", {"state": "blocked", "was": None, "epoch": 0}),
        (2, "system", {"state": "queued", "was": "blocked", "epoch": 0} | nothing),
    ]
    assert (child.event_seq, child.version, child.waiting) == (2, 2, None)


def test_a_waiting_job_is_cancelled_at_once(lab: Lab) -> None:
    job = verbs.cancel(lab.session, lab.submit().id, lab.principal, why="changed my mind")
    assert (job.state, job.detail, job.ended_by) == (JobState.cancelled, "changed my mind", "admin")
    assert job.ended_at is not None


def test_a_placed_job_that_nobody_took_up_is_cancelled_at_once(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.place(job)
    verbs.cancel(lab.session, job.id, lab.principal)
    assert job.state is JobState.cancelled
    assert lab.leased() == 0
    part = lab.session.get_one(Part, (lease.attempt, 0))
    assert part.state is PartState.exited
    assert attempts.claim(lab.session, lease.attempt, lease.epoch, part.node_id) is None


def test_a_running_job_is_asked_to_save_and_leave(lab: Lab) -> None:
    job = lab.submit(queue={"grace_s": 60})
    lease = lab.run(job)
    verbs.cancel(lab.session, job.id, lab.principal)
    assert (job.state, job.stop_for) == (JobState.stopping, StopFor.cancel)
    orders = fence.orders(lab.session, lease)
    assert (orders.desired, orders.stop_for) == (Desired.stop, StopFor.cancel)
    assert orders.stop_in_s == pytest.approx(60, abs=1)
    version = job.version
    verbs.cancel(lab.session, job.id, lab.principal)  # again: nothing changes
    assert job.version == version
    attempts.stopping(lab.session, lease)
    lab.finish(lease, Reason.cancelled)
    assert job.state is JobState.cancelled
    verbs.cancel(lab.session, job.id, lab.principal)


def test_force_leaves_no_time_to_save(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    verbs.cancel(lab.session, job.id, lab.principal)
    verbs.cancel(lab.session, job.id, lab.principal, force=True)
    assert fence.orders(lab.session, lease).stop_in_s == pytest.approx(0, abs=1)


def test_a_cancel_that_comes_too_late_for_a_success_is_told_so(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease)
    verbs.cancel(lab.session, job.id, lab.principal)
    lab.finish(lease)
    assert job.state is JobState.succeeded
    with pytest.raises(IllegalMove) as caught:
        verbs.cancel(lab.session, job.id, lab.principal)
    assert caught.value.members == {"state": "succeeded", "allowed": []}


def test_a_cancelled_job_whose_machine_dies_is_cancelled_not_restarted(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    verbs.cancel(lab.session, job.id, lab.principal)
    attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=True)
    assert job.state is JobState.cancelled


def test_starting_is_not_started_when_it_should_stop(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.claim(job)
    attempts.adopt(lab.session, lease, 1, 1, 1, "b")
    verbs.cancel(lab.session, job.id, lab.principal)
    assert attempts.ready(lab.session, lease) is False
    lab.finish(lease, Reason.cancelled)
    assert job.state is JobState.cancelled


def test_others_may_not_cancel_and_strangers_do_not_see(lab: Lab) -> None:
    job = lab.submit()
    with pytest.raises(Forbidden):
        verbs.cancel(lab.session, job.id, lab.someone("eva"))
    with pytest.raises(NotFound):
        verbs.cancel(lab.session, job.id, Principal("admin", Role.admin, project="elsewhere"))
    with pytest.raises(NotFound):
        jobs.get(lab.session, uuid.uuid4(), lab.principal)


def test_a_retry_goes_on_from_the_last_checkpoint(lab: Lab) -> None:
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease, step=20)
    lab.finish(lease, Reason.data_error)
    again = jobs.retry(lab.session, job.id, lab.principal)
    assert (again.retry_of, again.resume_checkpoint, again.spec) == (job.id, job.resume_checkpoint, job.spec)
    with pytest.raises(AlreadyExists):
        jobs.retry(lab.session, job.id, lab.principal)
    work = attempts.adopt(lab.session, lab.claim(again), 1, 1, 1, "b")
    assert work.inputs["resume"]["path"].endswith("step-00000020/state.pt")
    verbs.cancel(lab.session, again.id, lab.principal)
    lab.finish(work.lease, Reason.cancelled)
    assert jobs.retry(lab.session, job.id, lab.principal, fresh=True).resume_checkpoint is None


def test_only_what_failed_is_retried(lab: Lab) -> None:
    job = lab.submit()
    with pytest.raises(IllegalMove):
        jobs.retry(lab.session, job.id, lab.principal)


def test_final_is_final(lab: Lab) -> None:
    job = verbs.cancel(lab.session, lab.submit().id, lab.principal)
    with pytest.raises(IllegalMove):
        jobs.move(lab.session, job, JobState.queued, "test")


def test_history_has_no_gaps_and_tells_every_move(lab: Lab) -> None:
    job = lab.submit()
    lab.succeed(job)
    history = job_events.after(lab.session, job.id)
    assert [event.seq for event in history] == list(range(1, len(history) + 1))
    states = [event.data["state"] for event in history if event.type in ("state", "end")]
    assert states == ["queued", "scheduled", "running", "succeeded"]
    assert history[-1].type == "end"
    assert job_events.after(lab.session, job.id, 2)[0].seq == 3
    assert job.version == len(history)
    transactions = lab.session.scalars(select(JobEvent.tx).distinct()).all()
    assert len(transactions) == 1


def test_an_error_restarts_only_after_a_new_checkpoint(lab: Lab) -> None:
    job = lab.submit(queue={"max_restarts": 1})
    lease = lab.run(job)
    lab.save(job, lease)
    lab.finish(lease, Reason.user_error)
    assert (job.state, job.user_restarts) == (JobState.queued, 1)
    assert lab.again(job).not_before is not None
    lab.finish(lab.run(job), Reason.user_error)
    assert (job.state, job.reason) == (JobState.failed, "user_error")


def test_pages_follow_each_other_while_jobs_come_in(open_lab: Lab) -> None:
    lab, made = open_lab, []
    for n in range(5):
        made.append(lab.submit("retrieval", name=f"job {n}").id)
        lab.session.commit()
    first = jobs.page(lab.session, lab.principal, {}, limit=2, count=True)
    lab.submit("retrieval")
    lab.session.commit()
    second = jobs.page(lab.session, lab.principal, {}, limit=2, cursor=first.next_cursor)
    third = jobs.page(lab.session, lab.principal, {}, limit=2, cursor=second.next_cursor)
    assert (first.total, third.next_cursor) == (5, None)
    assert [job.id for page in (first, second, third) for job in page.items] == made[::-1]


@pytest.mark.parametrize("sort", jobs.SORTS)
def test_every_order_pages_through_everything_once(lab: Lab, sort: str) -> None:
    made = {lab.submit("retrieval", queue={"priority": p}).id for p in ("low", "high", "normal", "low", "urgent")}
    verbs.cancel(lab.session, next(iter(made)), lab.principal)
    seen, cursor = [], None
    while True:
        page = jobs.page(lab.session, lab.principal, {}, sort=sort, limit=2, cursor=cursor)
        seen += [job.id for job in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert len(seen) == 5
    assert set(seen) == made


def test_filters_choose_and_name_what_is_allowed(lab: Lab) -> None:
    labelled = lab.submit("retrieval", name="table one", queue={"labels": {"table": "1"}})
    trained = lab.submit()

    def found(**filters: list[str]) -> set[uuid.UUID]:
        named = {name.replace("__", "."): values for name, values in filters.items()}
        return {job.id for job in jobs.page(lab.session, lab.principal, named).items}

    assert found(kind=["pretrain"]) == {trained.id}
    assert found(label__table=["1"]) == {labelled.id}
    assert found(name=["table"]) == {labelled.id}
    assert found(state=["queued", "running"]) == {labelled.id, trained.id}
    assert found(dataset=["moving@1"]) == {labelled.id, trained.id}
    assert found(submitted_after=["2100-01-01T00:00:00Z"]) == set()
    assert found(node=["here"]) == set()
    with pytest.raises(BadFilter) as caught:
        found(colour=["red"])
    assert "state" in caught.value.members["allowed"]
    with pytest.raises(BadFilter, match="no 'runing'"):
        found(state=["runing"])
    with pytest.raises(BadFilter):
        found(submitted_after=["yesterday"])
    with pytest.raises(BadFilter):
        jobs.page(lab.session, lab.principal, {}, sort="color")


@pytest.mark.parametrize("names", [["nobody"], ["nobody", "neither"], ["run 1999"]])
def test_a_rare_name_is_not_looked_for_among_all_jobs(lab: Lab, names: list[str]) -> None:
    like = lab.submit("retrieval")
    many = """
        INSERT INTO jobs (id, project, owner, name, kind, spec, spec_sha256, state, priority)
        SELECT gen_random_uuid(), project, owner, 'run ' || i, kind, spec, '', 'succeeded', 2
          FROM jobs, generate_series(1, 2000) AS i WHERE id = :like
    """
    lab.session.execute(text(many), {"like": like.id})
    lab.session.execute(text("ANALYZE jobs"))
    asked: list[tuple[str, Any]] = []
    event.listen(lab.session.connection(), "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    jobs.page(lab.session, lab.principal, {"name": names})
    statement, values = asked[-1]
    plan = lab.session.connection().exec_driver_sql(f"EXPLAIN {statement}", values).scalars().all()
    assert "ix_jobs_name" in "\n".join(plan)


def test_a_cursor_belongs_to_its_list(lab: Lab) -> None:
    for _ in range(3):
        lab.submit("retrieval")
    cursor = jobs.page(lab.session, lab.principal, {}, limit=1).next_cursor
    for wrong in ("nonsense", "", f"{cursor}x", cursor and cursor[:-4]):
        with pytest.raises(BadCursor):
            jobs.page(lab.session, lab.principal, {}, cursor=wrong)
    with pytest.raises(BadCursor):
        jobs.page(lab.session, lab.principal, {"kind": ["retrieval"]}, cursor=cursor)


def test_position_counts_in_the_schedulers_order(lab: Lab) -> None:
    low = lab.submit("retrieval", queue={"priority": "low"})
    high = lab.submit("retrieval", queue={"priority": "high"})
    assert (jobs.position(lab.session, high), jobs.position(lab.session, low)) == (1, 2)
    assert [job.id for job in jobs.queue(lab.session)] == [high.id, low.id]
    verbs.cancel(lab.session, high.id, lab.principal)
    assert jobs.position(lab.session, high) is None
    assert jobs.counts(lab.session) == {("queued", "retrieval"): 1, ("cancelled", "retrieval"): 1}


def test_an_attempt_is_one_of_its_job(lab: Lab) -> None:
    job = lab.submit()
    lab.run(job)
    attempt = lab.session.scalars(select(Attempt).where(Attempt.job_id == job.id)).one()
    assert tries.newest(lab.session, job.id) is attempt
    told = tries.of_job(lab.session, job.id)[0]
    assert told["parts"][0]["node"] == "here"
    assert [device["index"] for device in told["devices"]] == [0, 1]
