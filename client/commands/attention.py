"""Attention maps: fetched, listed, or looked at in the browser."""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from typer.core import TyperGroup

from client import tables
from client.api import Client
from client.commands.browse import PrintFlag, show_page
from client.commands.jobs import JobArgument
from client.errors import BadInput
from client.job import Job
from client.results import AttentionMap
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer

ClipOption = Annotated[str | None, typer.Option(help="Only this clip.")]
ModalityOption = Annotated[str | None, typer.Option(help="video or audio.")]
MapOption = Annotated[str | None, typer.Option(help="s (what the other modality points at) or s_hat.")]


class FetchesByDefault(TyperGroup):
    """`cmac attention JOB --out DIR` fetched before there was `get`: a job's id, or an option, still does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`get` before what is no command of the group."""
        if args and args[0] not in ("-h", "--help") and re.fullmatch(r"-.*|[0-9a-fA-F-]{2,36}", args[0]):
            args = ["get", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


attention = typer.Typer(
    cls=FetchesByDefault, help="Attention maps: fetch, list, look at in the browser.", no_args_is_help=True
)


@attention.command("get")
def get_maps(
    job: JobArgument,
    out: Annotated[Path, typer.Option(help="Folder for the pictures; made when missing.")],
    clip: ClipOption = None,
    modality: ModalityOption = None,
    map: MapOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Also the numbers, as .npz.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Fetch attention maps as pictures and films, checked by their sha256."""
    with Client(url) as lab:
        maps = _fitting(lab.job(job), clip, modality, map)
        kinds = ("png", "mp4", "raw") if raw else ("png", "mp4")
        paths = [str(path) for found in maps for path in found.save(out, kinds)]
    answer(paths, lambda: f"{len(paths)} files in {out}", as_json=json, ids=paths if quiet else None)


@attention.command("list")
def list_maps(
    job: JobArgument,
    clip: ClipOption = None,
    modality: ModalityOption = None,
    map: MapOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """List a job's maps; --quiet: the names of its clips."""
    with Client(url) as lab:
        maps = _fitting(lab.job(job), clip, modality, map)
    made = tables.table("clip", "modality", "map", ("from, s", "right"), "shape", "files")
    for one in maps:
        files = " ".join(kind for kind in ("raw", "png", "mp4") if getattr(one, kind))
        began = "" if one.t0_s is None else f"{one.t0_s:.2f}"
        made.add_row(one.clip, one.modality, one.map, began, "x".join(str(length) for length in one.shape), files)
    rows = [one.model_dump(mode="json") for one in maps]
    clips = list(dict.fromkeys(one.clip for one in maps))
    answer(rows, lambda: made, as_json=json, ids=clips if quiet else None)


@attention.command("open")
def open_maps(
    job: JobArgument,
    clip: Annotated[str | None, typer.Argument(metavar="[CLIP]", help="As `list` names it; else all clips.")] = None,
    only_print: PrintFlag = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Open the page of a job's maps, or of one clip, in the browser."""
    with Client(url) as lab:
        found = lab.job(job)
        if clip is not None:
            _fitting(found, clip, None, None)
        query = f"?{urlencode({'clip': clip})}" if clip is not None else ""
        page = f"{lab.url}/ui/jobs/{found.id}/attention{query}"
    show_page(page, only_print=only_print, as_json=json)


def _fitting(job: Job, clip: str | None, modality: str | None, map: str | None) -> list[AttentionMap]:
    """A job's maps. Raises BadInput when there are none."""
    maps = job.attention(clip, modality, map)
    if not maps:
        raise BadInput(f"job {job.id[:8]} has no attention maps that fit; `cmac results {job.id[:8]}` says what it has")
    return maps
