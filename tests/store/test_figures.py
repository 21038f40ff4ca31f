"""What the dashboard shows is what happened."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, update

from store import attempts, deliveries, figures, leaders, nodes, scheduler, webhooks
from store.ends import Reason
from store.nodes import FoundDevice
from store.states import DeviceKind
from store.tables import Attempt, Job
from tests.store.lab import Lab


def read(lab: Lab) -> dict[str, dict[tuple[str, ...], float]]:
    return {figure.name: dict(figure.values) for figure in figures.read(lab.session)}


def test_every_family_says_what_it_is_and_has_its_labels(lab: Lab) -> None:
    lab.succeed(lab.submit())
    for figure in figures.read(lab.session):
        assert figure.help.endswith(".")
        assert figure.name.startswith("cmac_")
        assert all(len(labels) == len(figure.labels) for labels, _ in figure.values)


def test_waits_are_told_by_tier(lab: Lab) -> None:
    for minutes, priority in ((30, "high"), (10, "high"), (90, "low")):
        job = lab.submit(queue={"priority": priority})
        job.submitted_at = func.now() - timedelta(minutes=minutes)
        lab.session.flush()
    told = read(lab)
    assert told["cmac_queued"] == {("high",): 2, ("low",): 1}
    assert told["cmac_queue_oldest_seconds"][("low",)] == pytest.approx(5400, abs=5)
    assert told["cmac_queue_wait_seconds"] == {}
    lab.run(job)
    assert read(lab)["cmac_queue_wait_seconds"][("low", "0.5")] == pytest.approx(5400, abs=5)
    lab.session.execute(update(Job).values(started_at=func.now() - timedelta(hours=2)))
    assert read(lab)["cmac_queue_wait_seconds"] == {}


def test_a_recovery_lasts_until_the_next_attempt_steps(lab: Lab) -> None:
    job = lab.submit()
    lost = lab.run(job)
    attempts.give_up(lab.session, lost.attempt, Reason.worker_lost, release=True)
    assert read(lab)["cmac_recovery_seconds"] == {}
    lab.session.execute(
        update(Attempt).where(Attempt.id == lost.attempt).values(exited_at=func.now() - timedelta(seconds=70))
    )
    lab.run(job)
    assert read(lab)["cmac_recovery_seconds"][("worker_lost", "0.5")] == pytest.approx(70)


def test_failures_are_counted_by_their_reason(lab: Lab) -> None:
    for reason in (Reason.oom, Reason.oom, Reason.diverged):
        lab.finish(lab.run(lab.submit()), reason)
    told = read(lab)
    assert told["cmac_jobs_failed"] == {("oom",): 2, ("diverged",): 1}
    assert told["cmac_attempts"] == {("oom",): 2, ("diverged",): 1}


def test_gpus_show_their_use_and_those_that_do_not_tell_are_left_out(lab: Lab) -> None:
    def found(index: int, **health: Any) -> FoundDevice:
        return FoundDevice(DeviceKind.gpu, index, f"GPU-{index}", "H200", 143_000, health=health)

    node = lab.node("gpu-01")
    nodes.heartbeat(lab.session, node.id, [found(0, use=87.0, used_mb=9000.0), found(1, use=None, used_mb=3.0)])
    told = read(lab)
    assert told["cmac_gpu_use_percent"] == {("gpu-01", "0"): 87.0}
    assert told["cmac_gpu_memory_mb"] == {("gpu-01", "0"): 9000.0, ("gpu-01", "1"): 3.0}


def test_the_last_pass_says_how_long_it_took(open_lab: Lab) -> None:
    assert read(open_lab)["cmac_scheduler_pass_seconds"] == {}
    took = scheduler.run_pass("me").seconds
    told = read(open_lab)
    assert told["cmac_scheduler_pass_seconds"] == {(): pytest.approx(took)}
    assert told["cmac_leader_age_seconds"][(leaders.SCHEDULER,)] < 60


def test_receivers_and_deliveries_that_fail_are_told(lab: Lab) -> None:
    """One arrived long ago, one now; one fails, one was given up, one waits; one receiver was disabled."""
    assert read(lab)["cmac_webhooks"] == read(lab)["cmac_webhook_deliveries"] == {}
    hook = webhooks.add(lab.session, "https://receiver.example/", ["job.failed"], None, lab.principal)
    sent = [webhooks.ping(lab.session, hook.id, lab.principal) for _ in range(5)]
    sent[0].sent_at = func.now() - timedelta(hours=2)
    deliveries.arrived(lab.session, sent[1].id, 200)
    sent[2].queue = sent[3].queue = "job.failed"
    lab.session.flush()
    deliveries.failed(lab.session, sent[2].id, "answered 500", 500)
    sent[3].created_at = func.now() - timedelta(days=4)
    lab.session.flush()
    deliveries.failed(lab.session, sent[3].id, "answered 500", 500)
    told = read(lab)
    assert told["cmac_webhook_deliveries"] == {("arrived",): 1, ("failing",): 1, ("given_up",): 1, ("waiting",): 1}
    assert told["cmac_webhooks"] == {("failing",): 1}
    hook.disabled_at = func.now()
    lab.session.flush()
    assert read(lab)["cmac_webhooks"] == {("disabled",): 1}
