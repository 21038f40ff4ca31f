"""Traces of submissions, and clusters, as people describe them."""

import csv
import math
import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from store.line import MARGIN
from store.states import Priority

COLUMNS = ("submitted", "user", "gpus", "runtime_s")
OPTIONAL = ("project", "priority", "expected_s", "nodes", "preemptible", "redo_s")
TRUTHS = {"": False, "yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


class BadTrace(ValueError):
    """What is wrong with a trace or with the description of a cluster, and where."""


class Ask(NamedTuple):
    """One submission of a trace."""

    submitted_s: float
    user: str
    gpus: int
    runtime_s: float
    project: str
    priority: Priority
    expected_s: float
    nodes: int = 1  # that share the GPUs in equal parts
    preemptible: bool = False  # as `queue.preemptible`; one of the lowest tier always is
    redo_s: float = 0.0  # work that it does again after it had to leave, of what it had done


class Machine(NamedTuple):
    name: str
    gpus: int


def read_trace(path: Path) -> list[Ask]:
    """Submissions of a CSV file in order of time. Raises BadTrace, which names the line and the column."""
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise BadTrace(f"{path}: column {missing[0]} is missing; needed: {', '.join(COLUMNS)}")
            asks = [_ask(row, f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise BadTrace(f"{path}: {error}") from error
    if not asks:
        raise BadTrace(f"{path}: no submissions below the header")
    return sorted(asks, key=lambda ask: ask.submitted_s)


def _ask(row: dict[str, str | None], where: str) -> Ask:
    runtime_s = _number(row, "runtime_s", where)
    priority = row.get("priority") or str(Priority.normal)
    if priority not in list(Priority):
        raise BadTrace(f"{where}: priority {priority!r} is none of {', '.join(Priority)}")
    gpus, nodes = _count(row, "gpus", where), _count(row, "nodes", where) if row.get("nodes") else 1
    if gpus % nodes:
        raise BadTrace(f"{where}: {gpus} gpus do not make equal parts on {nodes} nodes")
    expected_s = _number(row, "expected_s", where) if row.get("expected_s") else MARGIN * runtime_s
    user = row.get("user") or ""
    project = row.get("project") or "default"
    redo_s = _number(row, "redo_s", where) if row.get("redo_s") else 0.0
    tier, willing = Priority(priority), _truth(row, "preemptible", where)
    return Ask(_moment(row, where), user, gpus, runtime_s, project, tier, expected_s, nodes, willing, redo_s)


def _truth(row: dict[str, str | None], column: str, where: str) -> bool:
    text = row.get(column) or ""
    if text.lower() not in TRUTHS:
        raise BadTrace(f"{where}: {column} {text!r} is neither yes nor no")
    return TRUTHS[text.lower()]


def _count(row: dict[str, str | None], column: str, where: str) -> int:
    value = _number(row, column, where)
    if value < 1 or value != int(value):
        raise BadTrace(f"{where}: {column} {row[column]!r} is no whole number of 1 or more")
    return int(value)


def _number(row: dict[str, str | None], column: str, where: str) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BadTrace(f"{where}: {column} {row[column]!r} is no number of 0 or more")
    return value


def _moment(row: dict[str, str | None], where: str) -> float:
    text = row["submitted"] or ""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadTrace(f"{where}: submitted {text!r} is neither seconds nor a time like 2026-11-26T12:00") from error


def read_cluster(text: str) -> list[Machine]:
    """Machines from their number and GPUs: `4x8,2x4` is four of 8 and two of 4. Raises BadTrace."""
    machines: list[Machine] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,5})x(\d{1,3})\s*", part)
        if found is None or not int(found[1]) or not int(found[2]):
            raise BadTrace(f"--nodes: {part.strip()!r} is not MACHINESxGPUS, as in 4x8,2x4")
        machines += [Machine(f"n{len(machines) + i + 1}", int(found[2])) for i in range(int(found[1]))]
    return machines
