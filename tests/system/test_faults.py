"""What may break while people train, and what must not be lost by it (QUEUE 14). Real processes, really killed."""

import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch
from sqlalchemy import func, select

from cmac_core import events
from store import embedded
from store.settings import settings
from store.states import JobState
from store.tables import Attempt, Checkpoint, Job, Metric

if TYPE_CHECKING:
    from conftest import Service

pytestmark = pytest.mark.system


def training(dataset: str, epochs: int) -> dict[str, Any]:
    """Two gloo ranks, a few seconds a save."""
    return {
        "kind": "pretrain", "dataset": dataset, "scale": "small", "resources": {"cpu_slots": 2},
        "data": {"frames": 4, "fps": 8, "crop": 32, "short_side": [32, 40], "workers": 0},
        "model": {"width": 4, "head": {"dim": 16}, "saliency": {"hidden": 8}, "bn_group": 4},
        "moco": {"K": 16}, "optim": {"batch": 8, "epochs": epochs, "warmup_epochs": 0},
        "checkpoints": {"every_epochs": 2, "keep": 0},
    }  # fmt: skip


def packing(clips: int = 8) -> dict[str, Any]:
    return {
        "kind": "pack", "dataset": f"p{uuid.uuid4().hex[:8]}", "short_side": 48, "resources": {"cpu_slots": 1},
        "source": {"generate": "sounding-objects", "clips": clips, "classes": 2, "size": 48, "seconds": 1.0},
    }  # fmt: skip


@pytest.fixture(scope="module")
def survivor(service: "Service", tiny: str) -> uuid.UUID:
    """The training under which everything but itself is killed; long enough to see it all, then it is cancelled."""
    job = service.submit(training(tiny, epochs=3000))
    service.until(lambda: saved(service, job) >= 1, 120)
    return job


def saved(service: "Service", job: uuid.UUID) -> int:
    query = select(func.count()).select_from(Checkpoint).where(Checkpoint.job_id == job)
    return service.read(lambda session: session.scalar(query)) or 0


def tries(service: "Service", job: uuid.UUID) -> int:
    return service.read(lambda s: s.scalar(select(func.count()).where(Attempt.job_id == job))) or 0


def test_a_killed_celery_worker_stops_no_training_and_comes_back(service: "Service", survivor: uuid.UUID) -> None:
    supervisor = service.supervisor(survivor)
    old = service.consumer()
    assert len(old) >= 3, "main and a pool of two"
    for process in old:
        process.kill()
    psutil.wait_procs(old, timeout=10)
    beside = service.submit(packing())
    service.until(lambda: len(service.consumer()) >= 3, 60)
    assert service.finished(beside)[0].state == JobState.succeeded
    assert supervisor.is_running()
    assert service.job(survivor).epoch == 1


def test_a_whole_worker_killed_and_started_anew_finds_its_training(service: "Service", survivor: uuid.UUID) -> None:
    supervisor = service.supervisor(survivor)
    old = service.worker()
    for process in old:
        process.kill()
    psutil.wait_procs(old, timeout=10)
    service.up()
    beside = service.submit(packing())
    assert service.finished(beside)[0].state == JobState.succeeded
    assert supervisor.is_running()
    assert service.job(survivor).epoch == 1


def test_a_database_restarted_costs_no_training_and_no_line(service: "Service", survivor: uuid.UUID) -> None:
    waiting = [service.submit(packing()) for _ in range(2)]
    assert embedded.stop_postgres(settings())
    time.sleep(8)  # longer than two heartbeats
    embedded.start_postgres(settings())
    ended = service.finished(*waiting)
    assert [job.state for job in ended] == [JobState.succeeded] * 2, [job.detail for job in ended]
    assert service.job(survivor).state == JobState.running
    service.cancel(survivor)
    row = service.finished(survivor)[0]
    assert row.state == JobState.cancelled
    assert (row.user_restarts, row.infra_restarts) == (0, 0)
    assert [tries(service, job) for job in (survivor, *waiting)] == [1, 1, 1]
    assert sum(written(service, survivor).values()) > 100
    assert stored(service, survivor) == written(service, survivor)


def test_redis_wiped_with_jobs_queued_loses_none(service: "Service") -> None:
    service.wipe_redis()
    waiting = [service.submit(packing()) for _ in range(4)]
    time.sleep(2)
    embedded.start_redis(settings())
    ended = service.finished(*waiting)
    assert [job.state for job in ended] == [JobState.succeeded] * 4, [job.detail for job in ended]
    assert [tries(service, job) for job in waiting] == [1] * 4


def test_a_killed_training_goes_on_and_ends_with_the_same_numbers(
    service: "Service", tiny: str, record_testsuite_property: Any
) -> None:
    undisturbed = service.submit(training(tiny, epochs=24))
    job = service.submit(training(tiny, epochs=24))  # there are slots for one at a time
    service.until(lambda: saved(service, job) >= 2, 240)
    supervisor = service.supervisor(job)
    family = [supervisor, *supervisor.children(recursive=True)]
    assert len(family) >= 4, "supervisor, torchrun, two ranks"
    for process in family:
        process.kill()
    record_testsuite_property("noticed_s", round(service.until(lambda: service.job(job).infra_restarts, 20), 1))
    record_testsuite_property("saving_again_s", round(service.until(lambda: saved_in(service, job, 2), 120), 1))
    again, through = service.finished(job, undisturbed)
    assert (again.state, through.state) == (JobState.succeeded, JobState.succeeded), again.detail
    assert (again.epoch, again.infra_restarts, again.user_restarts) == (2, 1, 0)
    assert through.epoch == 1
    assert service.attempt(job).resume_step > 0  # type: ignore[union-attr]
    assert_equal_states(final_state(service, again), final_state(service, through))
    assert curve(service, job) == curve(service, undisturbed)


def saved_in(service: "Service", job: uuid.UUID, epoch: int) -> bool:
    query = select(Checkpoint.id).where(Checkpoint.job_id == job, Checkpoint.epoch == epoch).limit(1)
    return service.read(lambda session: session.scalar(query)) is not None


def stored(service: "Service", job: uuid.UUID) -> Counter[tuple[str, int]]:
    query = select(Metric.name, Metric.step).where(Metric.job_id == job, Metric.name.not_like("sys/%"))
    return Counter(service.read(lambda session: [(name, step) for name, step in session.execute(query)]))


def written(service: "Service", job: uuid.UUID) -> Counter[tuple[str, int]]:
    """What the run itself wrote, line by line."""
    lines, _ = events.read(service.folder(job))
    return Counter((name, line.step) for line in lines if isinstance(line, events.Metrics) for name in line.values)


def curve(service: "Service", job: uuid.UUID) -> dict[tuple[str, int], float | None]:
    """The loss that counts at each step: of the newest attempt that took it. Times and rates may differ."""
    query = select(Metric.name, Metric.step, Metric.value).where(Metric.job_id == job, Metric.name.like("loss%"))
    rows = service.read(lambda session: session.execute(query.order_by(Metric.epoch)).all())
    return {(name, step): value for name, step, value in rows}


def final_state(service: "Service", job: Job) -> Any:
    checkpoint = service.read(lambda session: session.get_one(Checkpoint, job.resume_checkpoint))
    state = torch.load(Path(checkpoint.path), weights_only=False, map_location="cpu")
    del state["seconds"]  # how long it took is all that may differ
    return state


def assert_equal_states(one: Any, other: Any, where: str = "state") -> None:
    """Bitwise, through the whole tree."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal_states(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal_states(a, b, f"{where}.{number}")
    elif hasattr(one, "__dict__"):
        assert_equal_states(vars(one), vars(other), where)
    else:
        assert one == other, where
