"""Two specs and what came of them, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group, RenderableType
from rich.markup import escape

from client import tables
from client.api import Client
from client.completion import complete_jobs_and_experiments
from client.errors import BadInput
from client.specfiles import STDIN, read_specs
from client.terminal import JsonFlag, UrlOption, answer
from cmac_core.experiments.comparison import values_side_by_side
from cmac_core.specs.differences import differing, side_by_side

DIFFERENT = 1  # as diff(1) exits


class Side(NamedTuple):
    """What is compared: a stored job, or a spec file as it would be stored; a file has no results."""

    title: str
    spec: dict[str, Any]
    values: list[dict[str, Any]]


SideArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB|FILE", help="A job's id, or a JSON spec.", autocompletion=complete_jobs_and_experiments
    ),
]


def diff(
    first: SideArgument,
    second: SideArgument,
    all: Annotated[bool, typer.Option("--all", help="Also the fields that are the same.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Compare the specs of two jobs, or of a job and a file, and their results. Exits with 1 when the specs differ."""
    with Client(url) as lab:
        sides = [_side(lab, text) for text in (first, second)]
    specs = [side.spec for side in sides]
    found = differing(specs)
    rows = side_by_side(specs) if all else found
    values = values_side_by_side([{"values": side.values} for side in sides])
    body = {
        "equal": not found,
        "sides": [side.title for side in sides],
        "fields": [{"field": name, "values": pair} for name, pair in rows],
        "results": [{"name": name, "labels": labels, "values": pair} for name, labels, pair in values],
    }
    answer(body, lambda: _page([side.title for side in sides], rows, values), as_json=json)
    if found:
        raise typer.Exit(DIFFERENT)


def _side(lab: Client, text: str) -> Side:
    """A job by its id, or what the service makes of a file. Raises BadInput, ApiError."""
    if text == STDIN or text.endswith(".json") or Path(text).is_file():
        specs = read_specs([text])
        if len(specs) > 1:
            raise BadInput(f"{text} has {len(specs)} specs; one is compared")
        return Side(text, lab.dry_run(specs[0])["spec"], [])
    job = lab.find(text)
    values = [value.model_dump(mode="json") for value in job.result().values]
    return Side(f"{job.name or job.kind} {job.id[:8]}", job.spec(), values)


def _page(
    titles: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Any]]],
    values: Sequence[tuple[str, str, Sequence[Any]]],
) -> RenderableType:
    parts: list[RenderableType] = []
    if rows:
        fields = tables.table("field", *map(escape, titles))
        for name, pair in rows:
            same = pair[0] == pair[1]
            shown = [escape(_told(value)) for value in pair]
            fields.add_row(name, *shown, style="dim" if same else "")
        parts.append(fields)
    else:
        parts.append("the specs are equal")
    if values:
        results = tables.table("value", "of", *((escape(title), "right") for title in titles), ("difference", "right"))
        for name, labels, found in values:
            results.add_row(name, labels, *(_number(value) for value in found), _difference(found))
        parts.append(results)
    return Group(*parts)


def _told(value: Any) -> str:
    return "–" if value is None else tables.cell(value) if not isinstance(value, float) else repr(value)


def _number(value: dict[str, Any] | None) -> str:
    return "" if value is None else tables.number(value["value"], value["unit"])


def _difference(found: Sequence[dict[str, Any] | None]) -> str:
    first, second = found
    if first is None or second is None:
        return ""
    return f"{second['value'] - first['value']:+.4g}"
