"""The program that stands in for the core: what happens on the way leaves no trace in its result."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos import program
from chaos.program import Course, Run, undisturbed
from cmac_core import events
from cmac_core.events import Ended, EventLog, Metrics, Result, Saved
from cmac_core.training.signals import StopFlag

COURSE = Course(seed=3, steps=10, pace_s=0.0)


class Job:
    """One job's folder; each `run` is an attempt that goes on from what the last one saved."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.epoch = folder, 0
        self.resume: dict[str, dict[str, str]] = {}

    def run(self, course: Course, *, leave_at: int | None = None) -> list[events.AnyEvent]:
        self.epoch += 1
        folder = self.folder / f"epoch-{self.epoch}"
        folder.mkdir(parents=True)
        (folder / "inputs.json").write_text(json.dumps(self.resume))
        stop = StopFlag() if leave_at is None else _StopAt(folder, leave_at)
        Run(course, folder, EventLog(folder), stop)()
        found, _ = events.read(folder)
        saved = [event for event in found if isinstance(event, Saved)]
        if saved:
            self.resume = {"resume": {"path": str(folder / saved[-1].path), "sha256": saved[-1].sha256}}
        return found


class _StopAt(StopFlag):
    """Raised once a step has been told."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._step = folder, step

    @property
    def raised(self) -> bool:  # type: ignore[override]
        return any(step >= self._step for step in steps(events.read(self._folder)[0]))


def steps(found: list[events.AnyEvent]) -> list[int]:
    return [event.step for event in found if isinstance(event, Metrics)]


def test_a_run_that_left_and_went_on_ends_with_the_undisturbed_result(tmp_path: Path) -> None:
    job = Job(tmp_path)
    first = job.run(COURSE, leave_at=6)
    assert steps(first) == [1, 2, 3, 4, 5, 6]
    assert isinstance(first[-1], Ended)
    assert first[-1].outcome == "left"
    second = job.run(COURSE)
    assert steps(second) == [7, 8, 9, 10]
    assert result(second) == undisturbed(COURSE).losses[-1]


def test_a_step_that_is_left_out_changes_the_result() -> None:
    assert undisturbed(Course(3, 9, 0.0)).losses == undisturbed(COURSE).losses[:9]
    state = program.start(3)
    state.losses.append(0.5)  # as if step 1 had not been taken
    for _ in range(9):
        state.take_step()
    assert not set(state.losses[1:]) & set(undisturbed(COURSE).losses)


def test_an_ailing_run_fails_once_and_a_bug_every_time(tmp_path: Path) -> None:
    ailing, bug = Job(tmp_path / "ailing"), Job(tmp_path / "bug")
    words = [last_word(ailing.run(replace(COURSE, ail="disk_full"))) for _ in range(2)]
    assert words == [("failed", "disk_full"), ("finished", None)]
    assert {last_word(bug.run(replace(COURSE, ail="bug"))) for _ in range(2)} == {("failed", "user_error")}


def result(found: list[events.AnyEvent]) -> float:
    return next(event for event in found if isinstance(event, Result)).values[0].value


def last_word(found: list[events.AnyEvent]) -> Any:
    last = found[-1]
    assert isinstance(last, Ended)
    return last.outcome, last.reason
