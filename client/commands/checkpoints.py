"""Checkpoints: of trainings here and of weights from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.commands.datasets import root_of
from client.commands.jobs import finish
from client.completion import complete_checkpoints
from client.errors import BadInput
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes

checkpoint = typer.Typer(help="Checkpoints: list, look at, fetch, import.", no_args_is_help=True)

CheckpointArgument = Annotated[
    str,
    typer.Argument(metavar="CHECKPOINT", help="Its id or the unique start of it.", autocompletion=complete_checkpoints),
]


@checkpoint.command("list")
def list_checkpoints(
    job: Annotated[str | None, typer.Option(help="Only this job's, with those that were deleted.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 30,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """List checkpoints."""
    with Client(url) as lab:
        rows = list(lab.checkpoints(limit, lab.job(job).id if job else None))
    made = tables.table(
        "id", "job", ("step", "right"), ("train epoch", "right"), ("size", "right"), "state", ("age", "right")
    )
    for row in rows:
        job_id = str(row.get("job") or row.get("job_id") or "")[:8]
        epoch = tables.number(row.get("train_epoch"))
        since = tables.age(row.get("created_at"))
        size, state = tables.size(row.get("bytes")), str(row.get("state"))
        made.add_row(str(row["id"])[:8], job_id, str(row.get("step")), epoch, size, state, since)
    answer(rows, lambda: made if rows else "no checkpoints", as_json=json,
           ids=[str(row["id"]) for row in rows] if quiet else None)  # fmt: skip


@checkpoint.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pt, .pth or .safetensors on the service's machine.")],
    layout: Annotated[str, typer.Option(help="auto, torchvision, gdt, selavi or ours.")] = "auto",
    name: Annotated[str, typer.Option(help="Name of the job.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the import to its end.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Make a checkpoint of weights from elsewhere: names their folder as a root, then queues an import job."""
    source = file.expanduser().resolve()
    if not source.is_file():
        raise BadInput(f"{file}: no such file")
    with Client(url) as lab:
        job = lab.import_weights(root_of(lab, source.parent), source.name, layout, name or f"import {source.name}")
        if wait:
            finish([job], as_json=json, quiet=quiet)
            return
    answer(job.row, lambda: tables.jobs_table([job.row]), as_json=json, ids=[job.id] if quiet else None)
    if not (json or quiet):
        notes().print(f"Follow: cmac wait {job.id[:8]}", style="dim")


@checkpoint.command("show")
def show_checkpoint(checkpoint: CheckpointArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Show one checkpoint: what made it, and of what."""
    with Client(url) as lab:
        row = lab.checkpoint(checkpoint)
    answer(row, lambda: tables.facts((key, tables.cell(value)) for key, value in row.items()), as_json=json)


@checkpoint.command("card")
def show_card(checkpoint: CheckpointArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Print its model card, in Markdown."""
    with Client(url) as lab:
        text = lab.model_card(checkpoint)
    if json:
        answer({"card": text}, str, as_json=True)
    else:
        print(text, end="")


@checkpoint.command("get")
def get_checkpoint(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; made when missing.")] = Path("."),
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Fetch its encoders (.safetensors, torchvision's names) and its model card."""
    with Client(url) as lab:
        paths = [str(path) for path in lab.save_checkpoint(checkpoint, out)]
    answer(paths, lambda: "\n".join(paths), as_json=json, ids=paths if quiet else None)


@checkpoint.command("pin")
def pin_checkpoint(
    checkpoint: CheckpointArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let its training's `checkpoints` decide again.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Keep one that its training would let go of."""
    with Client(url) as lab:
        row = lab.pin_checkpoint(checkpoint, pinned=not undo)
    text = f"{row['id']} is pinned by {row['pinned_by']}" if row["pinned_by"] else f"{row['id']} is not pinned"
    answer(row, lambda: text, as_json=json)


@checkpoint.command("remove")
def remove_checkpoints(
    checkpoints: Annotated[list[str], typer.Argument(metavar="CHECKPOINT...", help="Ids or their unique starts.")],
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Remove the files of checkpoints that nothing names; their rows stay."""
    with Client(url) as lab:
        rows = [lab.remove_checkpoint(one) for one in checkpoints]
    freed = sum(row["bytes"] for row in rows)
    answer(rows, lambda: f"removed {len(rows)}: {tables.size(freed)}", as_json=json)
