"""The scheduler's policy on a described cluster: what a lab would wait with these machines and this work."""

import csv
import json as jsonlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from client import tables
from client.api import Client
from client.errors import BadInput
from client.terminal import JsonFlag, UrlOption, answer, notes

FIELDS = ("submitted", "user", "project", "gpus", "nodes", "runtime_s", "priority")


def simulate(
    trace: Annotated[
        Path | None,
        typer.Argument(
            help="CSV: submitted, user, gpus, runtime_s; if wanted project, priority, expected_s, nodes, preemptible "
            "(yes or no), redo_s (work that is done again after a preemption)."
        ),
    ] = None,
    nodes: Annotated[str, typer.Option(help="Machines and the GPUs of each.", metavar="4x8,2x4")] = "1x8",
    preemption: Annotated[bool, typer.Option(help="Whether jobs have to leave for those of higher tiers.")] = True,
    save: Annotated[Path | None, typer.Option(help="Keep the lab's own history as a trace here.")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Replay a trace, or the lab's history, by the scheduler's own code: waits, utilization, fairness, preemptions."""
    if trace is not None:
        _show(_run(trace, nodes, preemption), as_json=json)
        return
    with tempfile.TemporaryDirectory() as folder:
        own = save or Path(folder) / "history.csv"
        with Client(url) as lab:
            count = write_history(own, (job.row for job in lab.jobs(state="succeeded")))
        if not count:
            raise BadInput("no job of this lab has ended on a GPU yet; give a trace: cmac simulate TRACE --nodes 4x8")
        _show(_run(own, nodes, preemption), as_json=json)
    if save and not json:
        notes().print(f"{count} jobs are kept in {save}", markup=False)


def write_history(file: Path, jobs: Iterable[Mapping[str, Any]]) -> int:
    """A trace of what has run on GPUs; returns how many jobs it has."""
    rows = [_traced(job) for job in jobs if job.get("gpus") and job.get("started_at") and job.get("ended_at")]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def _traced(job: Mapping[str, Any]) -> dict[str, Any]:
    began, ended = (datetime.fromisoformat(job[key]) for key in ("started_at", "ended_at"))
    return {
        "submitted": job["submitted_at"],
        "user": job["owner"],
        "project": job["project"],
        "gpus": job["gpus"],
        "nodes": job["nodes"],
        "runtime_s": (ended - began).total_seconds(),
        "priority": job["priority"],
    }


def _run(trace: Path, nodes: str, preemption: bool) -> dict[str, Any]:
    # A process of its own: the policy belongs to the service, which the client does not import.
    command = [sys.executable, "-P", "-m", "store.simulate", str(trace.absolute()), "--nodes", nodes]
    command += [] if preemption else ["--no-preemption"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise BadInput(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(done.stderr)
    body: dict[str, Any] = jsonlib.loads(done.stdout)
    return body


def _show(body: dict[str, Any], *, as_json: bool) -> None:
    answer(body, lambda: _report(body), as_json=as_json)


def _report(body: Mapping[str, Any]) -> RenderableType:
    used = "" if body["utilization"] is None else f"{100 * body['utilization']:.0f} % of the GPUs used, "
    head = f"{body['jobs']} jobs on {body['gpus']} GPUs, {body['span_h']:.0f} h: {used}fairness {body['fairness']}"
    if body["never"]:
        head += f"; {body['never']} jobs ask for more than any machine has"
    if body["preemptions"]:
        head += f"; {body['wait']['preempted']} jobs had to leave for others, {body['preemptions']} times in all"
    spread = ("median", "p95", "max")
    columns = [(f"{name} wait, h", "right") for name in spread]
    # Of a cluster without preemption there is nothing to tell.
    columns += [("preempted", "right"), ("redone, GPU-h", "right")] if body["preemption"] else []

    def numbers(row: Mapping[str, Any]) -> list[str]:
        found = [f"{row[f'wait_{one}_h']:.2f}" for one in spread]
        return found + ([str(row["preempted"]), f"{row['redone_gpu_hours']:.2f}"] if body["preemption"] else [])

    tiers = tables.table("priority", ("jobs", "right"), *columns)
    for name, row in (*body["by_priority"].items(), ("all", body["wait"])):
        tiers.add_row(name, str(row["jobs"]), *numbers(row))
    people = tables.table("project", "user", ("jobs", "right"), ("GPU-hours", "right"), *columns, ("slowdown", "right"))
    for row in body["by_user"]:
        used_h = f"{row['gpu_hours']:.0f}"
        people.add_row(row["project"], row["user"], str(row["jobs"]), used_h, *numbers(row), f"{row['slowdown']:.2f}")
    return Group(head, tiers, people)
