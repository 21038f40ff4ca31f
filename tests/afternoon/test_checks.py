"""Each check of the afternoon is silent on a fair one and finds the one thing in it that is not."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from afternoon import checks
from afternoon.lab import NODES, PROJECTS
from afternoon.records import Records
from afternoon.script import Story
from afternoon.watch import Said, Watch
from chaos.history import History
from store.states import AttemptState, JobState, NodeState, Priority
from store.tables import Attempt, Audit, DeviceLease, Job, JobEvent

BEGAN = datetime(2026, 1, 1, 14, tzinfo=UTC)
GPUS = {(node, index): uuid.uuid4() for node in NODES for index in range(4)}


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


class Day:
    """Rows as the service would have left them."""

    def __init__(self) -> None:
        self.history = History()
        self.watch = Watch()
        self.story = Story(BEGAN, drained="gpu-01", lost="gpu-03", lost_at=at(100))
        self.trail: list[Audit] = []

    def job(self, who: str, name: str, gpus: int, submitted: float, tier: str = "normal", nodes: int = 1) -> Job:
        job = Job(id=uuid.uuid4(), name=name, owner=who, project=PROJECTS[who], gpus=gpus, nodes=nodes, epoch=0)
        job.priority, job.submitted_at, job.walltime_s = Priority(tier).rank, at(submitted), 60.0
        job.state, job.infra_restarts, job.user_restarts = JobState.succeeded, 0, 0
        self.history.jobs.append(job)
        self.event(job, submitted, state="queued", was=None)
        return job

    def event(self, job: Job, seconds: float, **data: object) -> None:
        event = JobEvent(job_id=job.id, seq=len(self.history.events), type="state", at=at(seconds), actor="", data=data)
        self.history.events.append(event)

    def run(self, job: Job, start: float, end: float, *devices: tuple[str, int], reason: str = "ok") -> Attempt:
        """An attempt on these devices; unless it ended well, its job waits again."""
        job.epoch += 1
        self.event(job, start, state="scheduled", epoch=job.epoch)
        attempt = Attempt(id=uuid.uuid4(), job_id=job.id, epoch=job.epoch, state=AttemptState.exited, reason=reason)
        attempt.running_at, attempt.exited_at = at(start), at(end)
        self.history.attempts.append(attempt)
        for device in devices:
            lease = DeviceLease(gpu_id=GPUS[device], attempt_id=attempt.id, owner=job.owner, project=job.project)
            lease.leased_at, lease.released_at = at(start), at(end)
            self.history.leases.append(lease)
        if reason != "ok":
            self.event(job, end, state="queued", was="running", attempt_reason=reason)
        return attempt

    def says(self, job: Job, seconds: float, code: str, expected: float | None = None) -> None:
        start = None if expected is None else at(expected).isoformat()
        self.watch.waits.append(Said(at(seconds), job.id, code, "", start))

    def records(self) -> Records:
        gpus = {device: node for (node, _), device in GPUS.items()}
        return Records(self.story, self.watch, self.history, self.trail, {}, gpus)


@pytest.fixture
def day() -> Day:
    """A wide job that waits for its two machines while a quick one is filled in; a preemption, a drain, a loss."""
    day = Day()
    mix, probe = day.job("ana", "mix", 4, 0), day.job("ana", "probe", 2, 0)
    day.run(mix, 1, 30, *machine("gpu-01"))
    day.run(probe, 1, 20, *machine("gpu-02")[:2])
    wide, quick = day.job("ben", "wide", 8, 5, nodes=2), day.job("eva", "quick", 2, 8)
    day.says(wide, 6, "resources", expected=60)
    day.run(quick, 9, 15, *machine("gpu-02")[2:])
    day.run(wide, 31, 41, *machine("gpu-01"), *machine("gpu-02"))
    first, second = (day.job("ben", f"sweep-{place}", 2, 10 + place, "low") for place in (1, 2))
    day.says(first, 32, "quota")
    deadline = day.job("ana", "deadline", 2, 50, "urgent")
    day.run(first, 42, 53, *machine("gpu-03")[:2], reason="preempted")
    day.event(first, 52, state="stopping", epoch=1, stop_for="preempt", detail=f"for job {deadline.id}")
    day.run(deadline, 53, 63, *machine("gpu-03")[:2])
    day.run(first, 64, 80, *machine("gpu-04")[:2])
    day.run(second, 65, 90, *machine("gpu-01")[:2], reason="drained")
    day.trail += [
        Audit(at=at(time), principal="admin", action=f"node.{state}", target="gpu-01")
        for time, state in ((89, "draining"), (96, "ready"))
    ]
    day.run(second, 91, 99, *machine("gpu-04")[:2])
    night = day.job("eva", "night", 2, 97)
    night.infra_restarts = 1
    day.run(night, 97.5, 125, *machine("gpu-03")[:2], reason="worker_lost")
    day.watch.nodes.append((at(122), "gpu-03", NodeState.lost, "no heartbeat"))
    day.run(night, 127, 140, *machine("gpu-01")[:2])
    return day


def machine(node: str) -> list[tuple[str, int]]:
    return [(node, index) for index in range(4)]


DECISIONS = checks.CHECKS[1:]  # the first reads what programs computed


def wrong(day: Day) -> list[str]:
    return [f"{check.__name__}: {text}" for check in DECISIONS for text in check(day.records())]


def job(day: Day, name: str) -> Job:
    return day.records().job(name)


def leases(day: Day, name: str, epoch: int = 1) -> Iterator[DeviceLease]:
    attempt = next(one for one in day.history.attempts if one.job_id == job(day, name).id and one.epoch == epoch)
    return (lease for lease in day.history.leases if lease.attempt_id == attempt.id)


def too_many(day: Day) -> None:
    """Two of Ben's batch beside his wide job."""
    extra = day.job("ben", "sweep-9", 2, 30, "low")
    day.run(extra, 35, 38, *machine("gpu-03")[2:])


def filler_stays(day: Day) -> None:
    for lease in leases(day, "quick"):
        lease.released_at = at(30.5)


def reservation_forgotten(day: Day) -> None:
    for lease in leases(day, "wide"):
        lease.leased_at = at(39)


def normal_one_leaves(day: Day) -> None:
    job(day, "sweep-1").priority = Priority.normal.rank


def two_leave(day: Day) -> None:
    extra = day.job("ben", "sweep-8", 2, 9, "low")
    day.event(extra, 52, state="stopping", epoch=1, stop_for="preempt", detail=f"for job {job(day, 'deadline').id}")
    day.run(extra, 43, 53, *machine("gpu-03")[2:], reason="preempted")
    day.run(extra, 63.5, 70, *machine("gpu-03")[2:])


def younger_one_first(day: Day) -> None:
    extra = day.job("ben", "sweep-7", 2, 20, "low")
    day.run(extra, 60, 70, *machine("gpu-02")[:2])


def placed_on_the_drained(day: Day) -> None:
    day.run(day.job("eva", "after", 2, 90), 92, 99, *machine("gpu-01")[2:])


def placed_on_the_lost(day: Day) -> None:
    day.run(day.job("eva", "after", 2, 120), 123, 130, *machine("gpu-03")[2:])


def lost_one_pays(day: Day) -> None:
    job(day, "night").user_restarts = 1


def passed_over(day: Day) -> None:
    """Ana's project has used 600 GPU-seconds by then, Eva's a few; Eva waits, and Ana is served."""
    day.run(day.job("eva", "waits", 2, 42), 95, 96, *machine("gpu-02")[2:])
    day.run(day.job("ana", "served", 2, 43), 70, 75, *machine("gpu-02")[:2])


def test_a_fair_afternoon_has_nothing_wrong(day: Day) -> None:
    assert wrong(day) == []


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (too_many, "quotas_hold: ben held 10 GPUs of 8"),
        (filler_stays, "a_reservation_is_not_delayed: quick was filled in and left at"),
        (reservation_forgotten, "a_reservation_is_not_delayed: the wide job could have started at"),
        (normal_one_leaves, "the_deadline_costs_least: sweep-1 had to leave though jobs of a lower tier ran"),
        (two_leave, "the_deadline_costs_least: 2 jobs had to leave"),
        (younger_one_first, "the_deadline_costs_least: sweep-7, which is younger, was placed before sweep-1"),
        (placed_on_the_drained, "a_drained_machine_gets_nothing: after was placed on gpu-01"),
        (placed_on_the_lost, "a_lost_machine_is_left_alone: after was placed on gpu-03 after it was gone"),
        (lost_one_pays, "a_lost_machine_is_left_alone: night paid 1 restarts of its own"),
        (passed_over, "nobody_who_used_less_is_passed_over: served was placed"),
    ],
)
def test_what_is_unfair_is_found(day: Day, damage: Callable[[Day], None], check: str) -> None:
    damage(day)
    assert any(text.startswith(check) for text in wrong(day)), wrong(day)
