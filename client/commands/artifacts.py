"""The files of a job, one by one; `cmac pull` fetches all that it left."""

from pathlib import Path
from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.commands.jobs import JobArgument
from client.places import inside
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer

artifact = typer.Typer(help="Files that jobs left, named by their sha256.", no_args_is_help=True)


@artifact.command("list")
def list_artifacts(job: JobArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """List a job's files."""
    with Client(url) as lab:
        found = lab.job(job).artifacts()
    made = tables.table("name", "kind", ("size", "right"), "type", "sha256")
    for one in found:
        made.add_row(one.name, one.kind, tables.size(one.bytes), one.media_type, one.sha256[:12])
    rows = [one.model_dump(mode="json") for one in found]
    names = [one.name for one in found]
    answer(rows, lambda: made if rows else "no files", as_json=json, ids=names if quiet else None)


@artifact.command("get")
def get_artifacts(
    job: JobArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `cmac artifact list` shows them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for them; made when missing.")] = Path("."),
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Fetch some of a job's files, checked by their sha256."""
    with Client(url) as lab:
        found = lab.job(job)
        paths = [str(found.artifact(name).save(inside(out, name))) for name in names]
    answer(paths, lambda: "\n".join(paths), as_json=json, ids=paths if quiet else None)
