"""Watching several jobs at once: bars on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from client.curves import LOSSES, latest_losses
from client.errors import WaitTimeout
from client.experiment import Experiment
from client.job import FINAL, Job
from client.notebook import display, progress_html, share_done
from client.standing import clock, progress_text, standing
from client.tables import seconds_between, state_text
from client.terminal import notes

POLL_S = 1.0
LOSSES_S = 3.0
LINE_S = 15.0
BAR_WIDTH = 24
WAITING = ("queued", "blocked", "held", "paused")


class Moving(NamedTuple):
    """A job as it is shown: its row, and the losses of a training."""

    id: str
    label: str
    row: Mapping[str, Any]
    losses: str = ""


class Watched:
    """A job and what is shown of it beyond its row."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.losses = ""
        self._asked = 0.0

    def refresh(self) -> None:
        """Ask for the row, and now and then for the losses of a training."""
        if self.job.final:
            return
        self.job.refresh()
        if self.job.kind == "pretrain" and self.job.state == "running" and time.monotonic() - self._asked > LOSSES_S:
            self._asked = time.monotonic()
            self.losses = latest_losses(self.job.metrics(LOSSES, points=20))

    def moving(self) -> list[Moving]:
        """What may be told of line by line."""
        label = self.job.name or f"{self.job.kind} {self.job.id[:8]}"
        return [Moving(self.job.id, label, self.job.row, self.losses)]

    def shown(self) -> list[Moving]:
        """What has a bar."""
        return self.moving()


class WatchedExperiment(Watched):
    """An experiment: one bar for all its jobs, and one for each that is at work."""

    def __init__(self, job: Experiment) -> None:
        super().__init__(job)
        self.job: Experiment = job

    def moving(self) -> list[Moving]:
        """Its jobs, but for those that only wait."""
        members = (Moving(str(row["id"]), str(row["name"]), row) for row in self.job.members)
        return [one for one in members if one.row["state"] not in WAITING]

    def shown(self) -> list[Moving]:
        """The whole, then what is at work."""
        done = sum(self.job.counts.get(state, 0) for state in FINAL)
        progress = {"phase": "jobs", "step": done, "of": self.job.row["jobs"]}
        row = {"state": self.job.state, "progress": progress}
        whole = Moving(self.job.id, self.job.name or f"experiment {self.job.id[:8]}", row)
        return [whole, *(one for one in self.moving() if one.row["state"] not in FINAL)]


def watch(jobs: Sequence[Job], *, quiet: bool = False, poll_s: float = POLL_S, timeout: float | None = None) -> None:
    """Return when all jobs are final, showing how they get on. Ctrl-C passes through; the jobs go on.

    Raises WaitTimeout.
    """
    watched = [WatchedExperiment(job) if isinstance(job, Experiment) else Watched(job) for job in jobs]
    end = None if timeout is None else time.monotonic() + timeout
    out = notes()
    if quiet:
        _until_final(watched, lambda: None, poll_s, end)
    elif (show := display()) is not None:
        _until_final(watched, lambda: show(_html(watched)), poll_s, end)
    elif out.is_terminal:
        with Live(console=out, get_renderable=lambda: picture(watched), refresh_per_second=4):
            _until_final(watched, lambda: None, poll_s, end)
    else:
        _until_final(watched, Lines(watched, out), poll_s, end)


def _until_final(watched: list[Watched], tell: Callable[[], None], poll_s: float, end: float | None) -> None:
    while True:
        for one in watched:
            one.refresh()
        tell()
        moving = [one.job for one in watched if not one.job.final]
        if not moving:
            return
        left = poll_s if end is None else min(poll_s, end - time.monotonic())
        if left <= 0:
            raise WaitTimeout(f"job {moving[0].id} is still {moving[0].state}; it goes on")
        time.sleep(left)


def _html(watched: Sequence[Watched]) -> str:
    shown = [one for many in watched for one in many.shown()]
    lines = [(one.label, str(one.row["state"]), share_done(one.row), _words(one.row)) for one in shown]
    return progress_html(lines)


class Lines:
    """A line when a job's state or phase changes, and one every 15 s while it moves."""

    def __init__(self, watched: list[Watched], out: Console) -> None:
        self._watched, self._out = watched, out
        self._said: dict[str, tuple[str, str, float]] = {}

    def __call__(self) -> None:
        for one in (moving for watched in self._watched for moving in watched.moving()):
            now = str(one.row["state"])
            phase = str((one.row.get("progress") or {}).get("phase") or "") if now == "running" else ""
            state, old_phase, at = self._said.get(one.id, ("", "", 0.0))
            due = now == "running" and time.monotonic() - at > LINE_S
            if (now, phase) != (state, old_phase) or due:
                self._said[one.id] = (now, phase, time.monotonic())
                rest = " · ".join(filter(None, [standing(one.row), one.losses if now == "running" else ""]))
                self._out.print(escape(f"{one.label}: {now}" + (f" · {rest}" if rest else "")))
                sys.stderr.flush()


def picture(watched: Sequence[Watched]) -> RenderableType:
    """One line a job: name, state, bar, progress; below it the losses of trainings."""
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    grid.add_column(no_wrap=True, max_width=36, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    losses = []
    for one in (moving for many in watched for moving in many.shown()):
        state = str(one.row["state"])
        grid.add_row(escape(one.label), state_text(state), bar(one.row), escape(_words(one.row)))
        if one.losses and state == "running":
            losses.append(Text(f"  {one.label}: {one.losses}", style="dim", overflow="ellipsis", no_wrap=True))
    return Group(grid, *losses)


def bar(row: Mapping[str, Any], width: int = BAR_WIDTH) -> RenderableType:
    """Full when it succeeded, moving when it runs without a known end, empty while it waits."""
    progress, state = row.get("progress") or {}, row["state"]
    if state == "succeeded":
        return ProgressBar(total=1, completed=1, width=width)
    if state in ("running", "stopping") and progress.get("of"):
        return ProgressBar(total=float(progress["of"]), completed=float(progress.get("step") or 0), width=width)
    if state in ("scheduled", "running", "stopping"):
        return ProgressBar(pulse=True, width=width)
    return ProgressBar(total=1, completed=0, width=width)


def _words(row: Mapping[str, Any]) -> str:
    if row["state"] == "succeeded" and row.get("started_at"):
        return f"took {clock(seconds_between(row))}"
    return standing(row) or progress_text(row.get("progress"))
