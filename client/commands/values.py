"""Results of many jobs in one list."""

import csv as csv_format
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from client import tables
from client.api import Client
from client.commands.filters import (
    Datasets,
    Kinds,
    Labels,
    Name,
    Owners,
    Projects,
    States,
    filters,
)
from client.commands.results import COLUMNS, safe, write_text
from client.terminal import JsonFlag, UrlOption, answer

_JOB_COLUMNS = ("job", "kind", "job_name", "state", "dataset")


def values(
    state: States = None,
    kind: Kinds = None,
    label: Labels = None,
    name: Name = None,
    owner: Owners = None,
    project: Projects = None,
    dataset: Datasets = None,
    limit: Annotated[int, typer.Option(help="Values at most, newest jobs first.", min=1, max=100_000)] = 200,
    csv: Annotated[Path | None, typer.Option(help="Write them as CSV; - is standard output.")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """List what many jobs found out, one value a line; filters as `cmac jobs` has them."""
    wanted = filters(label, state=state, kind=kind, name=name, owner=owner, project=project, dataset=dataset)
    with Client(url) as lab:
        rows = lab.values(limit, **wanted)
    if csv is not None:
        write_text(csv, _csv_text(rows))
        return
    made = tables.table("job", "name", "value", "of", ("ours", "right"), ("chance", "right"), ("n", "right"))
    for row in rows:
        unit = str(row.get("unit") or "")
        of = " ".join(
            str(row[key]) for key in ("modality", "pool", "split", "fold", "seed") if row.get(key) is not None
        )
        numbers = (tables.number(row["value"], unit), tables.number(row.get("chance"), unit), str(row["n"]))
        made.add_row(str(row["job"])[:8], str(row["job_name"] or row["kind"]), str(row["name"]), of, *numbers)
    answer(rows, lambda: made if rows else "no values yet", as_json=json)


def _csv_text(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv_format.writer(out, lineterminator="\n")
    columns = (*_JOB_COLUMNS, *COLUMNS)
    writer.writerow(columns)
    writer.writerows([safe(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()
