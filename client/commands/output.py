"""What jobs say while they run: log, events, curves."""

import json as json_text
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from client import tables
from client.api import Client
from client.commands.jobs import JobArgument
from client.commands.results import write_text
from client.curves import curves
from client.errors import BadInput
from client.job import Job
from client.logs import follow_log, read_log
from client.standing import progress_text
from client.terminal import JsonFlag, UrlOption, answer, notes

_BARS = "▁▂▃▄▅▆▇█"


def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(help="Only the last N lines.", min=0)] = None,
    part: Annotated[
        int | None, typer.Option(help="Of a job over several machines: which of them, from 0 (the default).", min=0)
    ] = None,
    epoch: Annotated[int | None, typer.Option(help="Of this attempt; default: the newest.", min=1)] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Print a job's log. With -f --json: one object a line."""
    if follow and epoch is not None:
        raise BadInput("--follow goes on with the newest attempt; leave out --epoch, or -f")
    with Client(url) as lab:
        found = lab.job(job)
        page = read_log(lab.connection, found.id, tail, part or 0, epoch)
        if json and not follow:
            answer(page._asdict(), str, as_json=True)
            return

        def tell(text: str) -> None:
            print(json_text.dumps({"text": text}) if json else text, end="\n" if json else "", flush=True)

        if page.text or not json:
            tell(page.text)
        if part is None and page.parts > 1 and not json:
            others = "--part 1" if page.parts == 2 else f"--part 1 to {page.parts - 1}"
            notes().print(f"This is part 0 of {page.parts}; of the other machines: {others}", style="dim")
        if not follow:
            return
        try:
            for text in follow_log(lab.connection, found.id, page):
                tell(text)
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
    text = progress_text(data) if event["type"] == "progress" else tables.cell(data)
    return f"{event['id'] or '-':>5}  {event['type']:<11} {text}"


def metrics(
    job: JobArgument,
    names: Annotated[list[str] | None, typer.Option(help="Only these curves (may be repeated).")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print points as they come until the job ends.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write every point as CSV; - is standard output.")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show a job's curves: last value, range, shape. With -f --json: one object a line."""
    with Client(url) as lab:
        found = lab.job(job)
        if csv is not None:
            write_text(csv, found.points_csv(names))
            return
        if follow:
            _follow_points(found, names, as_json=json)
            return
        body = found.metrics(names)
    made = tables.table("curve", ("last", "right"), ("least", "right"), ("most", "right"), "shape")
    for name, points in sorted(curves(body).items()):
        values = [value for _, value in points]
        last, low, high = (tables.number(value) for value in (values[-1], min(values), max(values)))
        made.add_row(name, last, low, high, shape(values))
    answer(body, lambda: made if made.row_count else "no curves yet", as_json=json)


def _follow_points(job: Job, names: list[str] | None, *, as_json: bool) -> None:
    try:
        for event in job.live_metrics(names):
            if as_json:
                print(json_text.dumps({"id": event.id, "type": event.type, "data": event.data}), flush=True)
            elif event.type == "points":
                values = "  ".join(f"{name} {tables.number(value)}" for name, value in event.data["values"].items())
                print(f"{event.data['step']:>8}  {values}", flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def shape(values: Sequence[float], width: int = 24) -> str:
    """A curve as a row of bars, at most `width` of them."""
    picked = [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in picked)
