"""What may be asked of jobs that are there: pause, resume, hold, release, and to change their fields."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from client import tables
from client.api import Client
from client.commands.jobs import JobArgument, JobsArgument
from client.durations import seconds
from client.errors import BadInput
from client.job import Job
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer


def pause(jobs: JobsArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Ask jobs that run to save and give their devices back."""
    _each(jobs, Job.pause, json=json, quiet=quiet, url=url)


def resume(jobs: JobsArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Let paused jobs go on from their last checkpoint when their turn comes."""
    _each(jobs, Job.resume, json=json, quiet=quiet, url=url)


def hold(jobs: JobsArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Keep waiting jobs from starting."""
    _each(jobs, Job.hold, json=json, quiet=quiet, url=url)


def release(jobs: JobsArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Let held jobs wait for their turn."""
    _each(jobs, Job.release, json=json, quiet=quiet, url=url)


def change(
    job: JobArgument,
    fields: Annotated[
        list[str],
        typer.Argument(metavar="FIELD=VALUE...", help="Of priority, name, walltime, max_restarts, label.KEY."),
    ],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Change a job: `cmac set 51fe priority=high walltime=48h`; an empty label or walltime takes it away."""
    with Client(url) as lab:
        found = lab.job(job)
        row = found.change(**_changes(fields)).row
    answer(row, lambda: tables.jobs_table([row]), as_json=json, ids=[row["id"]] if quiet else None)


def _changes(fields: list[str]) -> dict[str, Any]:
    """What PATCH takes, from FIELD=VALUE. Raises BadInput."""
    wanted: dict[str, Any] = {}
    for field in fields:
        name, sign, value = field.partition("=")
        if not sign:
            raise BadInput(f"{field}: give FIELD=VALUE, for example priority=high")
        if name.startswith("label."):
            wanted.setdefault("labels", {})[name.removeprefix("label.")] = value or None
        elif name == "max_restarts":
            if not value.isdecimal():
                raise BadInput(f"max_restarts: {value!r} is no whole number")
            wanted[name] = int(value)
        elif name == "walltime":
            wanted["walltime_s"] = seconds(value) if value else None
        else:
            wanted[name] = value
    return wanted


def _each(jobs: list[str], verb: Callable[[Job], Job], *, json: bool, quiet: bool, url: str | None) -> None:
    with Client(url) as lab:
        rows = [verb(lab.job(job)).row for job in jobs]
    answer(rows, lambda: tables.jobs_table(rows), as_json=json, ids=[row["id"] for row in rows] if quiet else None)
