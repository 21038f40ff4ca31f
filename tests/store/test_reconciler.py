"""What was lost is found, and what lives is left alone."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from store import attempts, checkpoints, database, made, outbox, reconciler, tries, verbs
from store.states import JobState, NodeState
from store.tables import IdempotencyKey, Job, JobEdge, Leader, Node, Outbox, Part
from tests.store.lab import Lab


@pytest.fixture
def leading(open_lab: Lab) -> Lab:
    """A lab whose reconciler has led for long, so that it may declare somebody lost."""
    assert reconciler.run_pass("me").leading
    open_lab.session.execute(update(Leader).values(quiet_until=func.now() - timedelta(seconds=1)))
    open_lab.session.commit()
    return open_lab


def ago(lab: Lab, table: Any, **seconds: float) -> None:
    """Move times of all rows into the past."""
    values = {name: func.now() - timedelta(seconds=s) for name, s in seconds.items()}
    lab.session.execute(update(table).values(**values))
    lab.session.commit()


def repaired(lab: Lab) -> dict[str, int]:
    done = reconciler.run_pass("me")
    assert done.leading
    lab.session.rollback()
    lab.session.expire_all()
    return done.done


def test_a_silent_supervisor_is_given_up_and_its_job_goes_on(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    lease = lab.run(job)
    ago(lab, Part, heartbeat_at=119)
    assert repaired(lab) == {}
    ago(lab, Part, heartbeat_at=121)
    assert repaired(lab) == {"lost": 1}
    assert (job.state, job.infra_restarts) == (JobState.queued, 1)
    assert job.not_before is not None
    # The node lives: its loop kills what is left first.
    assert lab.leased() == 2
    assert lab.release(lease.attempt) == 2
    lab.session.commit()
    assert repaired(lab) == {}


def test_devices_of_a_silent_machine_are_released_and_it_gets_nothing(leading: Lab) -> None:
    lab = leading
    lab.run(lab.submit())
    ago(lab, Node, heartbeat_at=121)
    ago(lab, Part, heartbeat_at=121)
    assert repaired(lab) == {"lost": 1, "nodes_lost": 1}
    assert lab.leased() == 0
    node = lab.session.scalars(select(Node)).one()
    assert node.state is NodeState.lost
    lab.node()
    assert lab.session.scalars(select(Node)).one().state is NodeState.ready


def test_devices_kept_for_a_machine_that_then_died_are_released(leading: Lab) -> None:
    lab = leading
    lab.run(lab.submit())
    ago(lab, Part, heartbeat_at=121)
    assert repaired(lab) == {"lost": 1}
    assert lab.leased() == 2
    ago(lab, Node, heartbeat_at=121)
    assert repaired(lab) == {"nodes_lost": 1, "released": 2}
    assert lab.leased() == 0


def test_a_leader_that_was_away_itself_declares_nobody_lost(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    lab.run(job)
    ago(lab, Part, heartbeat_at=600)
    ago(lab, Leader, renewed_at=31, expires_at=20)
    assert repaired(lab) == {}
    assert job.state is JobState.running
    ago(lab, Leader, quiet_until=1)
    assert repaired(lab) == {"lost": 1}


def test_a_message_that_nobody_took_up_is_sent_again_and_then_given_up(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    lab.place(job)
    lab.session.commit()
    for sends in (2, 3):
        ago(lab, Part, dispatched_at=31)
        assert repaired(lab) == {"resent": 1}
        assert lab.session.scalars(select(Part.sends)).one() == sends
    assert outbox.backlog(lab.session).messages == 3
    assert len({row.payload["epoch"] for row in lab.session.scalars(select(Outbox))}) == 1
    ago(lab, Part, dispatched_at=31)
    assert repaired(lab) == {"resent": 1}
    assert (job.state, job.rejections, job.infra_restarts) == (JobState.queued, 1, 0)
    assert lab.session.scalars(select(Node.unclaimed)).one() == 1


def test_a_node_that_takes_nothing_up_is_cordoned_at_the_third_job(leading: Lab) -> None:
    lab = leading
    for _ in range(3):
        job = lab.submit()
        lab.place(job)
        lab.session.execute(update(Part).values(sends=3))
        ago(lab, Part, dispatched_at=31)
        repaired(lab)
        verbs.cancel(lab.session, job.id, lab.principal)
        lab.release(tries.newest(lab.session, job.id).id)  # type: ignore[union-attr]
        lab.session.commit()
    assert lab.session.scalars(select(Node)).one().state is NodeState.cordoned


def test_a_claim_without_a_supervisor_goes_back_to_the_queue(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    lab.claim(job)
    ago(lab, Part, claimed_at=31)
    assert repaired(lab) == {"rejected": 1}
    assert job.state is JobState.queued


def test_a_supervisor_gets_twice_as_long_to_come_up_after_each_launch_refused_for_it(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    for refused, allowed_s in enumerate((30, 60, 120, 240, 240)):
        lease = lab.claim(job)
        assert job.rejections == refused
        ago(lab, Part, claimed_at=allowed_s - 1)
        assert repaired(lab) == {}
        ago(lab, Part, claimed_at=allowed_s + 1)
        assert repaired(lab) == {"rejected": 1}
        assert lab.release(lease.attempt) == 2
        ago(lab, Job, not_before=1)


def test_a_supervisor_that_came_up_in_time_is_left_alone(leading: Lab) -> None:
    lab = leading
    job = lab.submit()
    attempts.adopt(lab.session, lab.claim(job), 1, 1, 1, "b")
    ago(lab, Part, claimed_at=31)
    assert repaired(lab) == {}


def test_who_does_not_end_when_asked_is_ended(leading: Lab) -> None:
    lab = leading
    job = lab.submit(queue={"grace_s": 1})
    lab.run(job)
    verbs.cancel(lab.session, job.id, lab.principal)
    lab.session.commit()
    assert repaired(lab) == {}
    ago(lab, attempts.Attempt, stop_deadline=61)
    assert repaired(lab) == {"overdue": 1}
    assert job.state is JobState.cancelled


def test_children_that_were_forgotten_are_settled(leading: Lab) -> None:
    lab = leading
    trained, failed = lab.submit(), lab.submit()
    waits = lab.submit("retrieval", checkpoint={"job": str(trained.id)})
    hopeless = lab.submit(
        "retrieval", queue={"after": [{"job": str(failed.id)}, {"job": str(lab.submit().id), "kind": "afterany"}]}
    )
    still = lab.submit("retrieval", queue={"after": [{"job": str(lab.submit().id)}]})
    lab.session.execute(update(Job).where(Job.id == trained.id).values(state=JobState.succeeded))
    lab.session.execute(update(Job).where(Job.id == failed.id).values(state=JobState.failed))
    lab.session.commit()
    assert repaired(lab) == {"settled": 2}
    assert [str(job.state) for job in (waits, hopeless, still)] == ["queued", "cancelled", "blocked"]
    assert lab.session.scalar(select(func.count()).select_from(JobEdge)) == 4


def test_old_rows_and_files_are_removed(leading: Lab) -> None:
    lab = leading
    job = lab.submit(checkpoints={"keep": 1})
    lease = lab.run(job)
    for step in (1, 2):
        lab.save(job, lease, step)
    lab.session.execute(update(Outbox).values(sent_at=func.now() - timedelta(days=8)))
    expired = func.now() - timedelta(seconds=1)
    lab.session.add(IdempotencyKey(principal="a", key=str(uuid.uuid4()), fingerprint="f", expires_at=expired))
    lab.session.commit()
    folder = dict(checkpoints.expire(lab.session)).popitem()[1]
    assert folder.exists()
    assert repaired(lab) == {"tidied": 2, "checkpoints": 1}
    assert not folder.exists()
    assert [str(c.state) for c in checkpoints.of_job(lab.session, job.id)] == ["ok", "deleted"]


def test_what_a_job_is_about_to_name_is_left_until_that_job_is_there(leading: Lab) -> None:
    lab = leading
    job = lab.submit(checkpoints={"keep": 1, "keep_every": 0, "keep_best": 0})
    lease = lab.run(job)
    lab.save(job, lease, 1)
    lab.session.commit()
    first = job.resume_checkpoint
    assert first is not None
    with database.sessions.begin() as other:
        assert made.lock_named(other, first) is not None
        for step in (2, 3):
            lab.save(job, lease, step)
        lab.session.commit()
        assert {c.step: str(c.state) for c in checkpoints.of_job(lab.session, job.id)} == {
            3: "ok",
            2: "deleting",
            1: "ok",
        }
        lab.session.commit()
    lab.save(job, lease, 4)
    assert [str(c.state) for c in checkpoints.of_job(lab.session, job.id)] == ["ok", "deleting", "deleting", "deleting"]


def test_only_one_reconciles(leading: Lab) -> None:
    assert not reconciler.run_pass("other").leading
    with database.sessions.begin() as session:
        from store import leaders

        leaders.resign(session, leaders.RECONCILER, "me")
        assert leaders.ages(session)[leaders.RECONCILER] < 60
    assert reconciler.run_pass("other").leading
