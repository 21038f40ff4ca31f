"""Everything that jobs left, fetched."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from client import tables
from client.api import Client
from client.commands.jobs import JobsArgument
from client.downloads import Told
from client.errors import BadInput
from client.pulls import PARTS, Part, Pulled
from client.pulls import pull as fetch
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes


def complete_parts(incomplete: str) -> list[str]:
    """What may be fetched alone."""
    return [part for part in PARTS if part.startswith(incomplete)]


def pull(
    jobs: JobsArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Each gets a folder of its own below it.")] = Path("."),
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(PARTS)} (may be repeated); default: all.", autocompletion=complete_parts),
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Fetch what jobs, or experiments with all their jobs, left; said again, it fetches only what is missing."""
    parts = _parts(only or [])
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=notes(),
        transient=True, disable=quiet or json or not notes().is_terminal,
    )  # fmt: skip
    with Client(url) as lab, bars:

        def told(name: str, size: int) -> Told:
            task = bars.add_task(name, total=size)
            return lambda count: bars.advance(task, count)

        pulled = [fetch(lab.find(job), out, parts, told) for job in jobs]
    body = [_plain(one) for one in pulled]
    folders = [str(one.folder) for one in pulled]
    answer(body, lambda: "\n".join(map(_line, pulled)), as_json=json, ids=folders if quiet else None)
    for text in (text for one in pulled for text in one.missing):
        if not json:
            notes().print(f"not there any more: {text}", style="yellow", markup=False)


def _parts(only: list[str]) -> tuple[Part, ...]:
    chosen = tuple(part for part in PARTS if part in only)
    unknown = [text for text in only if text not in PARTS]
    if unknown:
        raise BadInput(f"--only {unknown[0]}: it is one of {', '.join(PARTS)}")
    return chosen or PARTS


def _plain(pulled: Pulled) -> dict[str, object]:
    return {
        "folder": str(pulled.folder),
        "fetched": list(map(str, pulled.fetched)),
        "kept": list(map(str, pulled.kept)),
        "missing": pulled.missing,
    }


def _line(pulled: Pulled) -> str:
    size = sum(file.stat().st_size for file in pulled.fetched)
    kept = f", {len(pulled.kept)} were there" if pulled.kept else ""
    return f"{pulled.folder}: {len(pulled.fetched)} files, {tables.size(size)}{kept}"
