"""An experiment's tables as they fill: ours over seeds, the paper's number, the difference (API 3, METHOD 8)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from store import experiments
from store.keys import Principal
from store.states import FINAL, JobState
from store.tables import Cell, Experiment, Job, JobEvent, ResultValue

JSON = dict[str, Any]
OVER_FOLDS = "mean"  # the split label of a mean over folds


@dataclass(frozen=True)
class Standing:
    """A cell's job as far as a table needs it."""

    job: UUID
    seed: int
    state: JobState
    why: str


@dataclass(frozen=True)
class Found:
    """Everything that fills an experiment's tables."""

    cells: Mapping[tuple[str, str, str], Sequence[Standing]]  # by table, row, evaluation
    values: Mapping[UUID, Sequence[ResultValue]]
    tag: str  # another one whenever a job's row is another one


def view(session: Session, experiment_id: UUID, principal: Principal) -> JSON:
    """The /results body of an experiment: id, kind, name, recipe, state, final, counts, tables, warnings, tag.

    A table has columns, rows with a cell for each column, published rows of others, and caveats. A cell is
    {column, state, mean, std, n, of, values: [{seed, value}], paper, difference, jobs, why}; `state` is pending,
    failed, succeeded or skipped, and a mean over some of the seeds stands there as soon as there is one.
    Raises NotFound.
    """
    experiment = experiments.get(session, experiment_id, principal)
    counted = experiments.counts(session, [experiment.id])[experiment.id]
    state = experiments.state_of(counted)
    found = _find(session, experiment)
    return {
        "id": str(experiment.id),
        "kind": "experiment",
        "name": experiment.name,
        "recipe": experiment.recipe,
        "scale": experiment.scale,
        "seeds": experiment.spec["seeds"],
        "state": str(state),
        "final": state in FINAL,
        "counts": counted,
        "tables": [_table(table, found) for table in experiment.outline["tables"]],
        "warnings": [*experiment.outline.get("warnings", []), *_warnings(session, experiment)],
        "tag": found.tag,
    }


def _find(session: Session, experiment: Experiment) -> Found:
    rows = session.execute(
        select(Cell, Job.state, Job.version, Job.reason, Job.detail)
        .join(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id)
        .order_by(Cell.position)
        .execution_options(populate_existing=True)
    ).all()
    cells = defaultdict(list)
    for cell, state, _, reason, detail in rows:
        why = ": ".join(text for text in (reason, detail) if text) if state in experiments.AGAIN else ""
        cells[cell.table, cell.row, cell.evaluation].append(Standing(cell.job_id, cell.seed, state, why))
    values = defaultdict(list)
    mine = select(Cell.job_id).where(Cell.experiment_id == experiment.id)
    query = select(ResultValue).where(ResultValue.job_id.in_(mine)).order_by(ResultValue.position)
    for value in session.scalars(query.execution_options(populate_existing=True)):
        values[value.job_id].append(value)
    tag = hashlib.sha256(" ".join(f"{cell.job_id}.{version}" for cell, _, version, _, _ in rows).encode()).hexdigest()
    return Found(cells, values, tag[:32])


def _table(table: JSON, found: Found) -> JSON:
    kept = ("key", "title", "x", "reference", "published", "caveats")
    columns = [{name: column[name] for name in ("key", "title", "unit")} for column in table["columns"]]
    rows = [_row(table, row, found) for row in table["rows"]]
    return {**{name: table[name] for name in kept}, "columns": columns, "rows": rows}


def _row(table: JSON, row: JSON, found: Found) -> JSON:
    own = found.cells.get((table["key"], row["key"], ""), [])
    return {
        **{name: row[name] for name in ("key", "title", "note", "x", "paper")},
        "state": _state(own) if own else None,
        "jobs": [{"id": str(one.job), "seed": one.seed, "state": str(one.state)} for one in own],
        "cells": [_cell(table, row, column, found) for column in table["columns"]],
    }


def _cell(table: JSON, row: JSON, column: JSON, found: Found) -> JSON:
    paper = row["paper"].get(column["key"])
    told: JSON = {"column": column["key"], "mean": None, "std": None, "n": 0, "of": 0, "values": []}
    told |= {"paper": paper, "difference": None, "jobs": [], "why": ""}
    standings = found.cells.get((table["key"], row["key"], column["evaluation"]), [])
    if not standings:
        return told | {"state": "skipped", "why": row["skipped"].get(column["evaluation"], "there is nothing to run")}
    parts: dict[int, list[Standing]] = defaultdict(list)
    for one in standings:
        parts[one.seed].append(one)
    values = {seed: value for seed, those in parts.items() if (value := _value(those, column, found)) is not None}
    told |= {"n": len(values), "of": len(parts), "values": [{"seed": s, "value": v} for s, v in values.items()]}
    told["jobs"] = [{"id": str(one.job), "seed": one.seed, "state": str(one.state)} for one in standings]
    state, why = _state(standings), next((one.why for one in standings if one.why), "")
    if state == "succeeded" and len(values) < len(parts):
        state, why = "failed", f"its result has no value {column['measure']['name']}"
    if values:
        told["mean"] = mean(values.values())
        told["std"] = stdev(values.values()) if len(values) > 1 else None
        told["difference"] = None if paper is None else told["mean"] - paper
    return told | {"state": state, "why": why}


def _state(standings: Sequence[Standing]) -> str:
    if any(one.state not in FINAL for one in standings):
        return "pending"
    return "succeeded" if all(one.state is JobState.succeeded for one in standings) else "failed"


def _value(parts: Sequence[Standing], column: JSON, found: Found) -> float | None:
    """One seed's number: the mean over its parts (official splits), once all of them are there."""
    numbers = [
        _measured(found.values.get(one.job, ()), column["measure"]) for one in parts if one.state is JobState.succeeded
    ]
    known = [number for number in numbers if number is not None]
    return mean(known) if len(known) == len(parts) else None


def _measured(values: Sequence[ResultValue], measure: JSON) -> float | None:
    """The value that a column shows: over all folds where there are folds, else the first that fits."""
    fit = [
        value
        for value in values
        if value.name == measure["name"]
        and measure["modality"] in (None, value.modality)
        and measure["pool"] in (None, value.pool)
    ]
    whole = [value for value in fit if value.split == OVER_FOLDS] or [value for value in fit if value.fold is None]
    return whole[0].value if whole else None


def _warnings(session: Session, experiment: Experiment) -> list[str]:
    """What its jobs warned of, each once."""
    mine = select(Cell.job_id).where(Cell.experiment_id == experiment.id)
    rows = session.execute(
        select(Job.name, JobEvent.data)
        .join(Job, Job.id == JobEvent.job_id)
        .where(JobEvent.job_id.in_(mine), JobEvent.type == "warning")
        .order_by(JobEvent.at)
    )
    first: dict[str, str] = {}
    for name, data in rows:
        first.setdefault(str(data["message"]), name)
    return [f"{name}: {message}" for message, name in first.items()]
