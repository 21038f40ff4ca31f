"""Events and their deliveries: written with what they tell of, tried again, given up in the end."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from cmac_core.specs.experiment import Experiment as Spec
from store import database, deliveries, experiments, jobs, nodes, outbox, reconciler, tries, verbs, webhooks
from store.deliveries import retry_s
from store.ends import Reason
from store.errors import Forbidden, NotFound, QuotaExceeded
from store.keys import Principal, Role
from store.nodes import FoundDevice
from store.states import DeviceKind, JobState
from store.tables import Audit, Node, Outbox, Project, User, Webhook
from tests.store.lab import ADMIN, Lab

URL = "https://hooks.lan/in"


def hook(lab: Lab, *events: str, project: str | None = None, by: Principal = ADMIN) -> Webhook:
    return webhooks.add(lab.session, URL, events or webhooks.EVENTS, project, by)


def told(lab: Lab, one: Webhook) -> list[str]:
    """The events that were written for it, oldest first."""
    lab.session.flush()
    query = select(Outbox.queue).where(Outbox.webhook_id == one.id).order_by(Outbox.created_at, Outbox.queue)
    return list(lab.session.scalars(query))


def ago(lab: Lab, table: Any, **seconds: float) -> None:
    """Move times of all rows into the past."""
    lab.session.flush()
    values = {name: func.now() - timedelta(seconds=s) for name, s in seconds.items()}
    lab.session.execute(update(table).values(**values))
    lab.session.expire_all()


def due(lab: Lab) -> list[uuid.UUID]:
    return [delivery.id for delivery in deliveries.take(lab.session, 50)]


def row(lab: Lab, delivery: uuid.UUID) -> Outbox:
    return lab.session.get_one(Outbox, delivery, populate_existing=True)


def wait_s(lab: Lab, column: Any) -> float:
    seconds = lab.session.scalar(select(func.extract("epoch", column - func.now())))
    assert seconds is not None
    return float(seconds)


def test_the_life_of_a_job_is_told_from_start_to_end(lab: Lab) -> None:
    one = hook(lab)
    job = lab.submit(name="first")
    lease = lab.run(job)
    lab.finish(lease, Reason.worker_lost, detail="gone")
    lab.succeed(job)
    assert sorted(told(lab, one)) == ["job.restarted", "job.started", "job.started", "job.succeeded"]
    last = lab.session.scalars(select(Outbox).where(Outbox.queue == "job.succeeded")).one()
    assert last.payload["links"] == {"self": f"/jobs/{job.id}", "result": f"/results/{job.id}"}
    assert last.payload["job"] | {"id": str(job.id), "name": "first", "state": "succeeded"} == last.payload["job"]
    restarted = lab.session.scalars(select(Outbox).where(Outbox.queue == "job.restarted")).one()
    assert (restarted.payload["job"]["reason"], restarted.payload["job"]["detail"]) == ("worker_lost", "gone")


def test_failures_and_cancels_are_told_and_waiting_is_not(lab: Lab) -> None:
    one = hook(lab)
    lab.finish(lab.run(lab.submit()), Reason.oom)
    verbs.cancel(lab.session, lab.submit().id, ADMIN)
    held = lab.submit()
    verbs.hold(lab.session, held.id, ADMIN)
    verbs.release(lab.session, held.id, ADMIN)
    assert sorted(told(lab, one)) == ["job.cancelled", "job.failed", "job.started"]


def test_a_delivery_stands_and_falls_with_what_it_tells_of(open_lab: Lab) -> None:
    lab = open_lab
    one = hook(lab, "job.succeeded")
    job = lab.submit()
    lease = lab.run(job)
    lab.save(job, lease)
    lab.session.commit()
    lab.finish(lease)
    assert told(lab, one) == ["job.succeeded"]
    with database.sessions() as other:
        assert other.scalars(select(Outbox).where(Outbox.webhook_id == one.id)).all() == [], "not before the commit"
    lab.session.rollback()
    assert told(lab, one) == [], "what did not happen is not told"
    lab.finish(lease)
    lab.session.commit()
    with database.sessions() as other:
        assert [found.queue for found in other.scalars(select(Outbox).where(Outbox.webhook_id == one.id))] == [
            "job.succeeded"
        ]


def test_each_gets_what_it_asked_for_of_the_projects_it_may_see(lab: Lab) -> None:
    lab.session.add(Project(name="other"))
    lab.session.flush()
    wants, failed, foreign = hook(lab, "job.cancelled"), hook(lab, "job.failed"), hook(lab, project="other")
    gone = hook(lab, by=lab.someone("eva"))
    lab.session.execute(update(User).where(User.name == "eva").values(disabled=True))
    off = hook(lab)
    off.disabled_at = func.now()
    verbs.cancel(lab.session, lab.submit().id, ADMIN)
    assert [told(lab, one) for one in (wants, failed, foreign, gone, off)] == [["job.cancelled"], [], [], [], []]


def test_a_machine_that_falls_silent_and_memory_that_nobody_holds_are_told(lab: Lab) -> None:
    one = hook(lab)
    node = lab.session.scalars(select(Node)).one()
    found = [FoundDevice(DeviceKind.cpu, 0), FoundDevice(DeviceKind.cpu, 1, ghost=True)]
    for _ in range(2):  # found again, it is the same ghost
        nodes.heartbeat(lab.session, node.id, found)
    assert told(lab, one) == ["gpu.ghost"]
    ago(lab, Node, heartbeat_at=500)
    assert nodes.mark_lost(lab.session, 120) == ["here"]
    assert sorted(told(lab, one)) == ["gpu.ghost", "node.lost"]
    payload = lab.session.scalars(select(Outbox.payload).where(Outbox.queue == "gpu.ghost")).one()
    assert (payload["node"]["name"], payload["device"]["index"]) == ("here", 1)


def test_an_experiment_is_finished_once_and_again_after_a_retry(open_lab: Lab) -> None:
    lab = open_lab
    one = hook(lab, "experiment.finished")
    base = {"kind": "pretrain", "dataset": "moving", "preset": "small"}
    spec = Spec.model_validate({"kind": "experiment", "name": "e", "base": base, "grid": {"optim.lr": [0.1, 0.2]}})
    experiment = experiments.submit(lab.session, spec, ADMIN)
    members = [job.id for job, _ in experiments.jobs_of(lab.session, experiment)]
    lab.session.commit()
    assert "finished" not in reconciler.run_pass("me").done
    for job in members:
        verbs.cancel(lab.session, job, ADMIN)
    lab.session.commit()
    assert reconciler.run_pass("me").done["finished"] == 1
    assert "finished" not in reconciler.run_pass("me").done
    assert told(lab, one) == ["experiment.finished"]
    payload = lab.session.scalars(select(Outbox.payload)).one()
    assert payload["experiment"]["jobs"] == {"cancelled": 2}
    lab.session.commit()
    again = jobs.retry(lab.session, members[0], ADMIN)
    lab.session.commit()
    assert "finished" not in reconciler.run_pass("me").done
    verbs.cancel(lab.session, again.id, ADMIN)
    lab.session.commit()
    assert reconciler.run_pass("me").done["finished"] == 1
    assert told(lab, one) == ["experiment.finished"] * 2


def test_deliveries_are_no_launches(lab: Lab) -> None:
    one = hook(lab)
    webhooks.ping(lab.session, one.id, ADMIN)
    assert outbox.backlog(lab.session).messages == 0
    assert outbox.relay(lab.session, lambda queue, payload: pytest.fail("sent to the broker")) == 0
    assert len(due(lab)) == 1


def test_what_is_taken_is_due_again_when_its_worker_died(lab: Lab) -> None:
    delivery = webhooks.ping(lab.session, hook(lab).id, ADMIN).id
    assert due(lab) == [delivery]
    assert due(lab) == [], "another worker sends it right now"
    ago(lab, Outbox, available_at=0)
    assert due(lab) == [delivery]
    assert row(lab, delivery).sends == 2
    deliveries.arrived(lab.session, delivery, 204)
    ago(lab, Outbox, available_at=0)
    assert due(lab) == []
    assert (row(lab, delivery).status, row(lab, delivery).error) == (204, None)


def test_two_workers_never_take_the_same(open_lab: Lab) -> None:
    one = hook(open_lab)
    for _ in range(4):
        webhooks.ping(open_lab.session, one.id, ADMIN)
    open_lab.session.commit()
    with database.sessions.begin() as first, database.sessions.begin() as second:
        assert [len(deliveries.take(first, 2)), len(deliveries.take(second, 50))] == [2, 2]


def test_waits_double_from_a_minute_to_half_a_day() -> None:
    assert [retry_s(n) for n in (1, 2, 3, 10, 11, 5000)] == [60, 120, 240, 30720, 43200, 43200]


def test_a_failure_is_tried_again_later_and_later(lab: Lab) -> None:
    one = hook(lab, "job.cancelled")
    verbs.cancel(lab.session, lab.submit().id, ADMIN)
    for failures in range(1, 5):
        (delivery,) = due(lab)
        deliveries.failed(lab.session, delivery, "it answered 503", 503)
        lab.session.expire_all()
        assert (one.failures, one.error, row(lab, delivery).status) == (failures, "it answered 503", 503)
        assert wait_s(lab, row(lab, delivery).available_at) == pytest.approx(retry_s(failures), abs=1)
        assert due(lab) == []
        ago(lab, Outbox, available_at=0)
        assert due(lab) == [], "the receiver as a whole is left alone"
        ago(lab, Webhook, not_before=0)
    (delivery,) = due(lab)
    deliveries.arrived(lab.session, delivery, 200)
    lab.session.expire_all()
    assert (one.failures, one.failing_since, one.not_before, one.error) == (0, None, None, None)


def test_deliveries_that_fail_together_count_once_and_then_one_is_tried(lab: Lab) -> None:
    one = hook(lab, "job.cancelled")
    for _ in range(8):
        verbs.cancel(lab.session, lab.submit().id, ADMIN)
    taken = due(lab)
    assert len(taken) == deliveries.AT_ONCE
    for delivery in taken:
        deliveries.failed(lab.session, delivery, "no answer within 10 s")
    lab.session.expire_all()
    assert one.failures == 1
    ago(lab, Webhook, not_before=0)
    assert len(due(lab)) == 1, "one that fails is probed"


def test_after_three_days_of_failures_it_is_disabled_until_a_test_arrives(lab: Lab) -> None:
    one = hook(lab, "job.cancelled")
    for _ in range(2):
        verbs.cancel(lab.session, lab.submit().id, ADMIN)
    first, second = due(lab)
    deliveries.failed(lab.session, first, "it answered 500", 500)
    ago(lab, Webhook, not_before=0, failing_since=3 * 86400 - 60)
    deliveries.failed(lab.session, second, "it answered 500", 500)
    lab.session.expire_all()
    assert one.disabled_at is None
    ago(lab, Webhook, not_before=0, failing_since=3 * 86400 + 60)
    deliveries.failed(lab.session, first, "it answered 502", 502)
    lab.session.expire_all()
    assert one.disabled_at is not None
    assert one.error == "it answered 502"
    assert row(lab, first).gave_up_at is not None
    assert row(lab, second).gave_up_at is not None
    verbs.cancel(lab.session, lab.submit().id, ADMIN)
    assert len(told(lab, one)) == 2, "a disabled one is told nothing"

    ping = webhooks.ping(lab.session, one.id, ADMIN).id
    assert due(lab) == [ping]
    deliveries.failed(lab.session, ping, "it answered 500", 500)
    assert row(lab, ping).gave_up_at is not None, "a test is sent once"
    lab.session.expire_all()
    assert one.disabled_at is not None
    ping = webhooks.ping(lab.session, one.id, ADMIN).id
    assert due(lab) == [ping]
    deliveries.arrived(lab.session, ping, 200)
    lab.session.expire_all()
    assert (one.disabled_at, one.failures) == (None, 0)
    webhooks.redeliver(lab.session, one.id, first, ADMIN)
    assert due(lab) == [first]


def test_a_delivery_that_nobody_took_in_three_days_is_given_up(lab: Lab) -> None:
    hook(lab, "job.cancelled")
    verbs.cancel(lab.session, lab.submit().id, ADMIN)
    (delivery,) = due(lab)
    ago(lab, Outbox, created_at=3 * 86400 + 60)
    deliveries.failed(lab.session, delivery, "it answered 400", 400)
    assert row(lab, delivery).gave_up_at is not None


def test_a_removed_webhook_leaves_nothing_behind(lab: Lab) -> None:
    one = hook(lab)
    delivery = webhooks.ping(lab.session, one.id, ADMIN).id
    assert due(lab) == [delivery]
    webhooks.remove(lab.session, one.id, ADMIN)
    deliveries.arrived(lab.session, delivery, 200)
    deliveries.failed(lab.session, delivery, "late")
    assert lab.session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_deliveries_are_kept_for_a_month_and_launches_for_a_week(open_lab: Lab) -> None:
    lab = open_lab
    webhooks.ping(lab.session, hook(lab).id, ADMIN)
    outbox.add(lab.session, "node.1", {})
    lab.session.flush()
    ago(lab, Outbox, created_at=8 * 86400, sent_at=8 * 86400)
    lab.session.commit()
    assert reconciler.run_pass("me").done["tidied"] == 1
    assert lab.session.scalars(select(Outbox.kind)).all() == ["webhook"]
    ago(lab, Outbox, created_at=31 * 86400)
    lab.session.commit()
    assert reconciler.run_pass("me").done["tidied"] == 1


def test_who_may_register_and_see(lab: Lab) -> None:
    lab.session.add(Project(name="other"))
    eva, vi = lab.someone("eva", project="other"), lab.someone("vi", Role.viewer)
    one = hook(lab, by=eva)
    assert one.project == "other", "a key sees no further than its project, nor does its webhook"
    with pytest.raises(Forbidden):
        hook(lab, by=eva, project="default")
    with pytest.raises(Forbidden):
        hook(lab, by=vi)
    with pytest.raises(NotFound):
        hook(lab, project="none")
    for nobody in (lab.someone("mia"), Principal("op", Role.operator, "default")):
        with pytest.raises(NotFound):
            webhooks.get(lab.session, one.id, nobody)
        assert webhooks.listed(lab.session, nobody) == []
    assert webhooks.listed(lab.session, Principal("op", Role.operator)) == [one]


def test_nobody_has_more_than_a_few_and_the_trail_knows_no_secret(lab: Lab) -> None:
    for _ in range(webhooks.MOST):
        one = hook(lab)
    with pytest.raises(QuotaExceeded):
        hook(lab)
    lab.session.flush()
    trail = lab.session.scalars(select(Audit).where(Audit.action == "webhook.add")).all()
    assert len(trail) == webhooks.MOST
    assert all(one.secret not in str(entry.after) and URL not in str(entry.after) for entry in trail)


def test_a_job_moves_though_nobody_listens(lab: Lab) -> None:
    job = lab.submit()
    lab.succeed(job)
    assert job.state is JobState.succeeded
    assert tries.newest(lab.session, job.id) is not None
    assert lab.session.scalars(select(Outbox).where(Outbox.kind == "webhook")).all() == []
