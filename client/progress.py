"""Watching several jobs at once: bars on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from client.curves import LOSSES, latest_losses
from client.job import Job
from client.tables import clock, progress_text, seconds_between, standing, state_text
from client.terminal import notes

POLL_S = 1.0
LOSSES_S = 3.0
LINE_S = 15.0


class Watched:
    """A job and what is shown of it beyond its row."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.losses = ""
        self._asked = 0.0

    @property
    def label(self) -> str:
        """Its name, else its kind and the start of its id."""
        return self.job.name or f"{self.job.kind} {self.job.id[:8]}"

    def refresh(self) -> None:
        """Ask for the row, and now and then for the losses of a training."""
        if self.job.final:
            return
        self.job.refresh()
        if self.job.kind == "pretrain" and self.job.state == "running" and time.monotonic() - self._asked > LOSSES_S:
            self._asked = time.monotonic()
            self.losses = latest_losses(self.job.metrics(LOSSES, points=20))


def watch(jobs: Sequence[Job], *, quiet: bool = False, poll_s: float = POLL_S) -> None:
    """Return when all jobs are final, showing how they get on. Ctrl-C passes through; the jobs go on."""
    watched = [Watched(job) for job in jobs]
    out = notes()
    if quiet:
        _until_final(watched, lambda: None, poll_s)
    elif out.is_terminal:
        with Live(console=out, get_renderable=lambda: picture(watched), refresh_per_second=4):
            _until_final(watched, lambda: None, poll_s)
    else:
        _until_final(watched, Lines(watched, out), poll_s)


def _until_final(watched: list[Watched], tell: Callable[[], None], poll_s: float) -> None:
    while True:
        for one in watched:
            one.refresh()
        tell()
        if all(one.job.final for one in watched):
            return
        time.sleep(poll_s)


class Lines:
    """A line when a job's state or phase changes, and one every 15 s while it moves."""

    def __init__(self, watched: list[Watched], out: Console) -> None:
        self._watched, self._out = watched, out
        self._said: dict[str, tuple[str, str, float]] = {}

    def __call__(self) -> None:
        for one in self._watched:
            job = one.job
            phase = str((job.row.get("progress") or {}).get("phase") or "") if job.state == "running" else ""
            state, old_phase, at = self._said.get(job.id, ("", "", 0.0))
            due = job.state == "running" and time.monotonic() - at > LINE_S
            if (job.state, phase) != (state, old_phase) or due:
                self._said[job.id] = (job.state, phase, time.monotonic())
                rest = " · ".join(filter(None, [standing(job.row), one.losses if job.state == "running" else ""]))
                self._out.print(escape(f"{one.label}: {job.state}" + (f" · {rest}" if rest else "")))
                sys.stderr.flush()


def picture(watched: Sequence[Watched]) -> RenderableType:
    """One line a job: name, state, bar, progress; below it the losses of trainings."""
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    grid.add_column(no_wrap=True, max_width=28, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_column(width=24)
    grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    losses = []
    for one in watched:
        row = one.job.row
        grid.add_row(escape(one.label), state_text(one.job.state), bar(one), escape(_words(one)))
        if one.losses and not one.job.final and row.get("state") == "running":
            losses.append(Text(f"  {one.label}: {one.losses}", style="dim", overflow="ellipsis", no_wrap=True))
    return Group(grid, *losses)


def bar(one: Watched) -> RenderableType:
    """Full when it succeeded, moving when it runs without a known end, empty while it waits."""
    progress = one.job.row.get("progress") or {}
    if one.job.state == "succeeded":
        return ProgressBar(total=1, completed=1, width=24)
    if one.job.state in ("running", "stopping") and progress.get("of"):
        return ProgressBar(total=float(progress["of"]), completed=float(progress.get("step") or 0), width=24)
    if one.job.state in ("scheduled", "running", "stopping"):
        return ProgressBar(pulse=True, width=24)
    return ProgressBar(total=1, completed=0, width=24)


def _words(one: Watched) -> str:
    if one.job.state == "succeeded":
        return f"took {clock(seconds_between(one.job.row))}"
    return standing(one.job.row) or progress_text(one.job.row.get("progress"))
