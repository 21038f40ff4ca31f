"""Datasets and the folders they are made of."""

import re
from pathlib import Path
from typing import Annotated, get_args

import typer

from client import tables
from client.api import Client
from client.commands.jobs import finish, submit_all
from client.completion import complete_datasets
from client.errors import AlreadyExists, BadInput
from client.specfiles import Spec
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes
from cmac_core.specs import Layout

dataset = typer.Typer(help="Packed datasets: make, list, look at.", no_args_is_help=True)
root = typer.Typer(help="Named folders from which datasets are packed.", no_args_is_help=True)

DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="NAME, NAME@VERSION or an id.", autocompletion=complete_datasets)
]


@dataset.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of media on the service's machine.")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset; default: the folder's.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help=f"A set as it is distributed, with its own lists: {', '.join(get_args(Layout))}."),
    ] = None,
    annotations: Annotated[
        str | None, typer.Option(help="Where below DIR the layout's lists lie, if several do.")
    ] = None,
    media: Annotated[
        str | None, typer.Option(help="video, or audio for sound files (default: the layout's, else video).")
    ] = None,
    table: Annotated[str | None, typer.Option(help="CSV of labels below DIR (default: labels.csv if there).")] = None,
    file_column: Annotated[str, typer.Option(help="Column of that table which names the file.")] = "video",
    file_folder: Annotated[str, typer.Option(help="Folder of the named files, relative to DIR.")] = "",
    by_stem: Annotated[bool, typer.Option("--by-stem", help="Match file names without their ending.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Listed files may be absent.")] = False,
    shards: Annotated[int, typer.Option(min=1, max=1000, help="Pack in so many jobs and merge them, in parallel.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding processes of each job (0: one per core).")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the packing to its end.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Pack a folder of media into a dataset: names the folder as a root, then queues a pack job."""
    source = folder.expanduser().resolve()
    if not source.is_dir():
        raise BadInput(f"{folder}: no such folder")
    spec: Spec = {"kind": "pack", "dataset": slug(name or source.name)}
    given = {"layout": layout, "annotations": annotations, "media": media, "workers": workers}
    spec |= {key: value for key, value in given.items() if value is not None}
    if table is not None:
        spec["table"] = {"path": table, "file": file_column, "folder": file_folder, "by_stem": by_stem}
    if allow_missing:
        spec["allow_missing"] = True
    with Client(url) as lab:
        spec["source"] = {"root": root_of(lab, source), "path": "."}
        jobs = submit_all(lab, sharded({"name": f"pack {spec['dataset']}", **spec}, shards))
        if wait:
            finish(jobs, as_json=json, quiet=quiet)
            return
    rows = [job.row for job in jobs]
    told = rows if shards > 1 else rows[0]
    answer(told, lambda: tables.jobs_table(rows), as_json=json, ids=[job.id for job in jobs] if quiet else None)
    if not (json or quiet):
        notes().print(f"Follow: cmac wait {' '.join(job.id[:8] for job in jobs)}", style="dim")


def sharded(spec: Spec, shards: int) -> list[Spec]:
    """A pack as so many jobs of a shard each, and the one that merges them; a single shard is the pack itself."""
    if shards == 1:
        return [spec]
    parts = [
        {**spec, "name": f"{spec['name']}, shard {index + 1} of {shards}", "shard": {"index": index, "of": shards}}
        for index in range(shards)
    ]
    return [*parts, {**spec, "merge": [{"job": f"${part['name']}"} for part in parts]}]


def slug(text: str) -> str:
    """A dataset's or root's name from any text. Raises BadInput when nothing is left."""
    made = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    if not made:
        raise BadInput(f"{text!r} makes no name; give one of a-z, 0-9, - with --name")
    return made


def root_of(lab: Client, folder: Path) -> str:
    """The name of the root for a folder; added when there is none."""
    roots = {str(row["name"]): str(row["path"]) for row in lab.roots()}
    for name, path in roots.items():
        if path == str(folder):
            return name
    base = slug(folder.name or "media")
    name = base
    for number in range(2, 100):
        if name not in roots:
            break
        name = f"{base[:60]}-{number}"
    try:
        lab.add_root(name, str(folder))
    except AlreadyExists:  # another one was faster; the service says if it is another folder
        if {str(row["name"]): str(row["path"]) for row in lab.roots()}.get(name) != str(folder):
            raise
    return name


@dataset.command("list")
def list_datasets(json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """List datasets."""
    with Client(url) as lab:
        rows = list(lab.datasets())
    names = [f"{row['name']}@{row['version']}" for row in rows]
    made = tables.table("dataset", ("clips", "right"), ("hours", "right"), ("size", "right"), "media", "id")
    for name, row in zip(names, rows, strict=True):
        hours = tables.number(row.get("hours"))
        size = tables.size(row.get("bytes"))
        made.add_row(name, str(row.get("clips")), hours, size, str(row.get("media") or ""), str(row["id"])[:8])
    answer(rows, lambda: made if rows else "no datasets yet; `cmac dataset add DIR` packs one", as_json=json,
           ids=names if quiet else None)  # fmt: skip


@dataset.command("show")
def show_dataset(name: DatasetArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Show one dataset: counts, labels, hash."""
    with Client(url) as lab:
        row = lab.dataset(name)
    answer(row, lambda: tables.facts((key, tables.cell(value)) for key, value in row.items()), as_json=json)


@dataset.command()
def archive(name: DatasetArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Offer a dataset no longer; its files, and results that were made from it, stay."""
    with Client(url) as lab:
        row = lab.archive_dataset(name)
    answer(row, lambda: f"{row['reference']} is archived; its files stay", as_json=json)


@dataset.command()
def quarantine(name: DatasetArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """List the files that were not packed, and why."""
    with Client(url) as lab:
        rows = list(lab.quarantine(str(lab.dataset(name)["id"])))
    answer(rows, lambda: tables.rows_table(rows, "source", "reason", "detail"), as_json=json)


@root.command("add")
def add_root(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder on the service's machine.")],
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Name a folder, so that pack specs may read from it (operators)."""
    with Client(url) as lab:
        row = lab.add_root(name, str(folder.expanduser().resolve()))
    answer(row, lambda: f"{row.get('name', name)} is {row.get('path', folder)}", as_json=json)


@root.command("list")
def list_roots(json: JsonFlag = False, url: UrlOption = None) -> None:
    """List the named folders."""
    with Client(url) as lab:
        rows = list(lab.roots())
    answer(rows, lambda: tables.rows_table(rows, "name", "path"), as_json=json)
