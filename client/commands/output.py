"""What jobs say while they run: log, events, curves."""

import json as json_text
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from client import tables
from client.api import Client
from client.commands.jobs import JobArgument
from client.curves import curves
from client.logs import follow_log, read_log
from client.terminal import JsonFlag, UrlOption, answer, notes

_BARS = "▁▂▃▄▅▆▇█"


def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(help="Only the last N lines.", min=0)] = None,
    part: Annotated[
        int | None, typer.Option(help="Of a job over several machines: which of them, from 0 (the default).", min=0)
    ] = None,
    url: UrlOption = None,
) -> None:
    """Print a job's log."""
    with Client(url) as lab:
        found = lab.job(job)
        page = read_log(lab.connection, found.id, tail, part or 0)
        print(page.text, end="", flush=True)
        if part is None and page.parts > 1:
            others = "--part 1" if page.parts == 2 else f"--part 1 to {page.parts - 1}"
            notes().print(f"This is part 0 of {page.parts}; of the other machines: {others}", style="dim")
        if not follow:
            return
        try:
            for text in follow_log(lab.connection, found.id, page):
                print(text, end="", flush=True)
        except KeyboardInterrupt:
            notes().print(f"\nThe job goes on. Cancel it: cmac cancel {found.id[:8]}")
            raise typer.Exit(130) from None


def events(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Print what happened to a job; with -f also what happens now."""
    with Client(url) as lab:
        found = lab.job(job)
        if not follow:
            rows = list(found.history())
            answer(rows, lambda: tables.rows_table(rows, "seq", "at", "type", "actor", "data"), as_json=json)
            return
        try:
            for event in found.events():
                body = {"id": event.id, "type": event.type, "data": event.data}
                print(json_text.dumps(body) if json else _event_line(body), flush=True)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _event_line(event: dict[str, Any]) -> str:
    data = event["data"]
    if isinstance(data, dict) and isinstance(data.get("data"), dict):
        data = data["data"]
    text = tables.progress_text(data) if event["type"] == "progress" else tables.cell(data)
    return f"{event['id'] or '-':>5}  {event['type']:<11} {text}"


def metrics(
    job: JobArgument,
    names: Annotated[list[str] | None, typer.Option(help="Only these curves (may be repeated).")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show a job's curves: last value, range, shape."""
    with Client(url) as lab:
        body = lab.job(job).metrics(names)
    made = tables.table("curve", ("last", "right"), ("least", "right"), ("most", "right"), "shape")
    for name, points in sorted(curves(body).items()):
        values = [value for _, value in points]
        last, low, high = (tables.number(value) for value in (values[-1], min(values), max(values)))
        made.add_row(name, last, low, high, shape(values))
    answer(body, lambda: made if made.row_count else "no curves yet", as_json=json)


def shape(values: Sequence[float], width: int = 24) -> str:
    """A curve as a row of bars, at most `width` of them."""
    picked = [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in picked)
