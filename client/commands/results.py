"""Numbers."""

import csv as csv_format
import io
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape

from client import tables
from client.api import Client
from client.commands.jobs import JobsArgument
from client.experiment import ExperimentResult
from client.job import Job
from client.results import Result
from client.standing import standing
from client.terminal import JsonFlag, UrlOption, answer, notes

COLUMNS = [
    "name",
    "value",
    "unit",
    "n",
    "ci_low",
    "ci_high",
    "split",
    "fold",
    "seed",
    "pool",
    "selection",
    "modality",
    "paper",
    "random_init",
    "chance",
]


def results(
    jobs: JobsArgument,
    csv: Annotated[Path | None, typer.Option(help="Write the values as CSV; - is standard output.")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show what jobs found out: ours beside a random encoder, chance and the paper."""
    with Client(url) as lab:
        found = [(job, job.result()) for job in map(lab.find, jobs)]
    if csv is not None:
        write_text(csv, csv_text([result for _, result in found]))
        return
    body = [result.model_dump(mode="json") for _, result in found]
    answer(body if len(body) > 1 else body[0], lambda: Group(*(page(*pair) for pair in found)), as_json=json)


def page(job: Job, result: Result) -> RenderableType:
    """One job's answer: which of the states of API 3 it is, then the numbers."""
    head = f"[bold]{escape(job.name or result.kind)}[/] {result.kind} {result.id[:8]}: {result.state}"
    parts: list[RenderableType] = [head + ("" if result.final else " (not final yet)")]
    if where := standing(job.row):
        parts.append(escape(where))
    error = result.error or {}
    parts += [escape(f"{name}: {error[name]}") for name in ("hint", "log_tail") if error.get(name)]
    parts += [f"[yellow]warning:[/] {escape(text)}" for text in result.warning_texts]
    if isinstance(result, ExperimentResult):
        parts.append(tables.experiment_tables(result.model_dump()))
    elif result.values:
        parts.append(tables.result_table(result))
    elif result.state == "succeeded" and result.protocol:
        parts.append(tables.facts((name, tables.cell(value)) for name, value in result.protocol.items()))
    if result.artifacts:
        parts.append(f"{len(result.artifacts)} files, for example {escape(result.artifacts[0].name)}")
    return Group(*parts)


def csv_text(results: list[Result]) -> str:
    """One row a value; text that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv_format.writer(out, lineterminator="\n")
    writer.writerow(["job", "kind", *COLUMNS])
    for result in results:
        for value in result.values:
            row = value.model_dump()
            writer.writerow([result.id, result.kind, *(safe(row[column]) for column in COLUMNS)])
    return out.getvalue()


def safe(value: object) -> object:
    """A cell of a CSV that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def write_text(file: Path, text: str) -> None:
    """Into a file, saying so; `-` is standard output."""
    if str(file) == "-":
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")
        notes().print(f"Wrote {file}", markup=False)
