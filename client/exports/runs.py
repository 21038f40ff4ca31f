"""A job as others' programs keep one: settings, numbers over steps, final values, tags, files."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from client.experiment import Experiment
from client.job import Job
from client.results import Result
from cmac_core.specs.differences import flat


class Point(NamedTuple):
    """One value of a curve: at which step, and when (seconds since 1970)."""

    name: str
    step: int
    value: float
    at: float


class Run(NamedTuple):
    """A job with everything that is exported of it but its files."""

    job: Job
    result: Result
    settings: dict[str, Any]
    points: list[Point]
    finals: dict[str, float]
    tags: dict[str, str]

    @property
    def title(self) -> str:
        """Its name, told from others of that name."""
        return f"{self.job.name or self.job.kind} {self.job.id[:8]}"


def each(job: Job) -> Iterator[Job]:
    """The job, or every job of an experiment."""
    if isinstance(job, Experiment):
        yield from job.jobs()
    else:
        yield job


def read_run(job: Job) -> Run:
    """Everything about a job that others' programs have a place for."""
    result = job.result()
    return Run(job, result, flat(job.spec()), _points(job.points_csv()), _finals(result), _tags(job, result))


def plain_name(text: str) -> str:
    """A name that both programs take as it is: they have no @ and no =."""
    return re.sub(r"[^\w./-]", "_", text.replace("@", "_at_"))


def _points(text: str) -> list[Point]:
    """Every point; of a step that was done again after a restart the newest; what is not finite is left out."""
    found: dict[tuple[str, int], tuple[int, Point]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        if row["value"] in ("", "nan", "inf", "-inf", "NaN"):
            continue
        key, epoch = (row["name"], int(row["step"])), int(row["epoch"])
        at = datetime.fromisoformat(row["at"]).timestamp()
        if key not in found or found[key][0] <= epoch:
            found[key] = epoch, Point(*key, float(row["value"]), at)
    return sorted((point for _, point in found.values()), key=lambda point: (point.step, point.name))


def _finals(result: Result) -> dict[str, float]:
    """`r@1/split=1/pool=gap` -> value, and beside it what a random encoder reaches."""
    found = {}
    for value in result.values:
        name = "/".join([value.name, *(f"{label}={told}" for label, told in value.labels.items())])
        found[name] = value.value
        if value.random_init is not None:
            found[f"{name}/random_init"] = value.random_init
    return found


def _tags(job: Job, result: Result) -> dict[str, str]:
    """Where it comes from: job, code, data."""
    row, dataset = job.row, result.lineage.dataset
    told = {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "owner": row.get("owner"),
        "project": row.get("project"),
        "git_sha": row.get("git_sha"),
        "lock_sha256": row.get("lock_sha256"),
        "spec_sha256": row.get("spec_sha256"),
        "checkpoint": result.lineage.checkpoint,
        "pretrain_job": result.lineage.pretrain_job,
        "manifest_sha256": dataset.get("manifest_sha256") if isinstance(dataset, dict) else None,
        **{f"label.{name}": value for name, value in (row.get("labels") or {}).items()},
    }
    return {f"cmac.{name}": str(value) for name, value in told.items() if value not in (None, "")}
