"""Each check is silent on a good history and finds the one thing that is broken in it."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chaos import invariants
from chaos.history import History
from chaos.invariants import ALWAYS, AT_REST, Watch, broken
from cmac_core.events import EventLog
from cmac_core.events import Metrics as Line
from store import job_events
from store.states import AttemptState, CheckpointState, JobState, PartState
from store.tables import Artifact, Attempt, Checkpoint, DeviceLease, Job, JobEvent, Metric, Part, Result, ResultValue

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DEVICE = uuid.uuid4()


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@pytest.fixture
def good(tmp_path: Path) -> History:
    """One job: lost at 20 s in its first attempt, which had saved step 4; succeeded at 40 s in its second."""
    file = tmp_path / "state.pt"
    file.write_bytes(b"state")
    job = Job(id=uuid.uuid4(), name="chaos-1-0", state=JobState.succeeded, epoch=2, event_seq=7)
    first, second = (
        Attempt(
            id=uuid.uuid4(), job_id=job.id, epoch=epoch, state=AttemptState.exited, reason=reason, exited_at=at(end)
        )
        for epoch, reason, end in ((1, "worker_lost", 20), (2, "ok", 40))
    )
    saved = Checkpoint(
        id=uuid.uuid4(), job_id=job.id, attempt_id=first.id, epoch=1, step=4, kind="full", path=str(file), bytes=5,
        sha256=hashlib.sha256(b"state").hexdigest(), state=CheckpointState.ok, created_at=at(15),
    )  # fmt: skip
    second.inputs = {"resume": {"id": str(saved.id)}}
    moves = [
        ("state", None, "queued", 0), ("state", "queued", "scheduled", 1), ("state", "scheduled", "running", 1),
        ("state", "running", "queued", 1), ("state", "queued", "scheduled", 2), ("state", "scheduled", "running", 2),
        ("end", "running", "succeeded", 2),
    ]  # fmt: skip
    events = [(type, {"was": was, "state": state, "epoch": epoch}) for type, was, state, epoch in moves]
    events.insert(3, ("checkpoint", {"id": str(saved.id)}))
    job.event_seq = len(events)
    return History(
        jobs=[job],
        events=[
            JobEvent(job_id=job.id, seq=seq, type=type, data=data) for seq, (type, data) in enumerate(events, start=1)
        ],
        attempts=[first, second],
        parts=[
            Part(attempt_id=first.id, part=0, epoch=1, state=PartState.lost),
            Part(attempt_id=second.id, part=0, epoch=2, state=PartState.exited),
        ],
        leases=[
            DeviceLease(gpu_id=DEVICE, attempt_id=first.id, epoch=1, leased_at=at(10), released_at=at(21)),
            DeviceLease(gpu_id=DEVICE, attempt_id=second.id, epoch=2, leased_at=at(21), released_at=at(40)),
        ],
        metrics=[
            Metric(job_id=job.id, name="loss", step=5, epoch=1, value=0.5, at=at(18)),
            Metric(job_id=job.id, name="loss", step=5, epoch=2, value=0.5, at=at(30)),
        ],
        checkpoints=[saved],
        artifacts=[Artifact(job_id=job.id, epoch=2, name="trace.json", created_at=at(39))],
        results=[Result(job_id=job.id, epoch=2, created_at=at(40))],
        values=[ResultValue(job_id=job.id, name="accuracy", value=0.9)],
    )


def test_a_good_history_breaks_nothing(good: History) -> None:
    assert broken(AT_REST, good) == []
    assert set(ALWAYS) < set(AT_REST)


def test_what_retention_left_of_a_history_breaks_nothing(good: History) -> None:
    good.events = [event for event in good.events if event.type in job_events.KEPT]
    assert broken(AT_REST, good)
    good.jobs[0].events_removed_at = at(90 * 24 * 3600)
    assert broken(AT_REST, good) == []


def lease_twice(history: History) -> None:
    history.leases[1].leased_at = at(20)


def lease_for_ever(history: History) -> None:
    history.leases[1].released_at = None


def live_twice(history: History) -> None:
    history.attempts[0].state = AttemptState.running


def outlive(history: History) -> None:
    history.parts[0].state = PartState.running


def skip_an_epoch(history: History) -> None:
    history.jobs[0].epoch = 3


def lose_an_event(history: History) -> None:
    del history.events[2]


def jump(history: History) -> None:
    history.events[1].data = {"was": "queued", "state": "running", "epoch": 1}


def move_after_the_end(history: History) -> None:
    job = history.jobs[0]
    data = {"was": "succeeded", "state": "queued", "epoch": 2}
    history.events.append(JobEvent(job_id=job.id, seq=9, type="state", data=data))
    job.event_seq, job.state = 9, JobState.queued


def write_late(history: History) -> None:
    history.metrics[0].at = at(22)


def save_late(history: History) -> None:
    """The row's own time is early; the order of events tells."""
    events = history.events
    events[3].data, events[6].data = events[6].data, events[3].data
    events[3].type, events[6].type = events[6].type, events[3].type


def resume_from_nowhere(history: History) -> None:
    history.attempts[1].inputs = {"resume": {"id": str(uuid.uuid4())}}


def tear(history: History) -> None:
    Path(history.checkpoints[0].path).write_bytes(b"stat")


def never_end(history: History) -> None:
    history.jobs[0].state = JobState.paused


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lease_twice, invariants.devices_are_leased_once),
        (lease_for_ever, invariants.leases_end_with_attempts),
        (live_twice, invariants.one_attempt_lives),
        (outlive, invariants.parts_end_with_their_attempt),
        (skip_an_epoch, invariants.epochs_grow_by_one),
        (lose_an_event, invariants.history_has_no_gaps),
        (jump, invariants.moves_are_allowed),
        (move_after_the_end, invariants.moves_are_allowed),
        (write_late, invariants.nothing_old_is_stored),
        (save_late, invariants.nothing_old_is_stored),
        (resume_from_nowhere, invariants.resumes_from_what_is_registered),
        (tear, invariants.checkpoints_are_whole),
        (never_end, invariants.jobs_are_final),
    ],
)
def test_what_is_broken_is_found(
    good: History, damage: Callable[[History], None], check: Callable[[History], Iterable[str]]
) -> None:
    damage(good)
    assert list(check(good))
    assert any(text.startswith(f"{check.__name__}: ") for text in broken(AT_REST, good))


def test_lines_that_were_not_stored_count_unless_the_attempt_was_given_up(good: History, tmp_path: Path) -> None:
    for epoch in (1, 2):
        say(tmp_path, epoch, 5)
    assert list(lines(good, tmp_path)) == []
    say(tmp_path, 1, 6)
    assert list(lines(good, tmp_path)) == []  # it was lost by then
    say(tmp_path, 2, 6)
    assert len(list(lines(good, tmp_path))) == 1
    good.metrics.append(Metric(job_id=good.jobs[0].id, name="loss", step=7, epoch=1, value=0.3, at=at(19)))
    assert len(list(lines(good, tmp_path))) == 2


def folder_of(root: Path, epoch: int) -> Path:
    folder = root / f"epoch-{epoch}"
    folder.mkdir(exist_ok=True)
    return folder


def say(root: Path, epoch: int, step: int) -> None:
    log = EventLog(folder_of(root, epoch))
    log.write(Line(step=step, values={"loss": 0.5}))
    log.close()


def lines(history: History, root: Path) -> Iterable[str]:
    return invariants.every_line_is_stored_once(history, lambda _, epoch: folder_of(root, epoch))


@pytest.mark.parametrize("wanted", [{("loss", 5): 0.6}, {("loss", 5): 0.5, ("loss", 6): 0.4}])
def test_a_curve_with_another_value_or_a_hole_is_not_the_undisturbed_one(good: History, wanted: Any) -> None:
    job = good.jobs[0].id
    assert list(invariants.curves_are_whole(good, {job: {("loss", 5): 0.5}})) == []
    assert len(list(invariants.curves_are_whole(good, {job: wanted}))) == 1


def test_a_result_is_that_of_the_attempt_that_ended_well(good: History) -> None:
    job = good.jobs[0].id
    assert list(invariants.results_are_right(good, {job: {"accuracy": 0.9}})) == []
    assert list(invariants.results_are_right(good, {job: {"accuracy": 0.8}}))
    good.results[0].epoch = 1
    assert list(invariants.results_are_right(good, {job: {"accuracy": 0.9}}))


def test_a_submission_makes_one_job(good: History) -> None:
    assert list(invariants.jobs_are_those_submitted(good, ["chaos-1-0"])) == []
    assert list(invariants.jobs_are_those_submitted(good, ["chaos-1-0", "chaos-1-1"]))
    good.jobs.append(Job(id=uuid.uuid4(), name="chaos-1-0"))
    assert list(invariants.jobs_are_those_submitted(good, ["chaos-1-0"]))


def test_what_was_final_stays_so_and_counters_only_grow(good: History) -> None:
    watch, job = Watch(), good.jobs[0]
    assert list(watch.look([job])) == []
    job.state, job.epoch = JobState.failed, 1
    assert len(list(watch.look([job]))) == 2
    assert len(list(watch.look([]))) == 1
