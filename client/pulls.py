"""What a job left, as a folder: fetched once, gone on with where it was cut."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from client.downloads import Told, download, write_whole
from client.errors import Gone, NotAcceptable
from client.experiment import Experiment
from client.job import Job
from client.logs import read_log
from client.places import inside, labelled

Part = Literal["artifacts", "checkpoints", "curves", "log"]
PARTS: tuple[Part, ...] = get_args(Part)
TABLE_FORMS = {"csv": "csv", "markdown": "md", "latex": "tex"}
_ENCODERS = "encoders"  # artifacts of this kind are the weights of a checkpoint


class Pulled(NamedTuple):
    """Where everything of a job lies: `kept` was there and right, `missing` says what the service has no more."""

    folder: Path
    fetched: list[Path]
    kept: list[Path]
    missing: list[str]


class Wanted(NamedTuple):
    """A file that is named by its sha256: its place, its address, its bytes."""

    target: Path
    url: str
    sha256: str
    bytes: int


def pull(
    job: Job, out: Path, parts: Collection[Part] = PARTS, told: Callable[[str, int], Told] | None = None
) -> Pulled:
    """Fetch a job, or an experiment and all its jobs, into a folder of its own below `out`.

    `told(name, bytes)` is called for each file and gives what is called for each block of it.
    Raises BadDownload, ApiError, ServiceAway.
    """
    folder = out / labelled(job.name or job.kind, job.id)
    if not isinstance(job, Experiment):
        return _pull_job(job, folder, parts, told)
    written = [_write_json(folder / "spec.json", job.spec())]
    written.append(_write_json(folder / "result.json", job.result().model_dump(mode="json")))
    written.append(_write_json(folder / "table.json", job.table()))
    written += [_write(folder / f"table.{ending}", job.table(form)) for form, ending in TABLE_FORMS.items()]
    all_of_it = Pulled(folder, written, [], [])
    with suppress(NotAcceptable):  # not every table is a figure
        written.append(_write(folder / "table.svg", job.table("svg")))
    for one in job.jobs():
        part = pull(one, folder / "jobs", parts, told)
        all_of_it = Pulled(
            folder, all_of_it.fetched + part.fetched, all_of_it.kept + part.kept, all_of_it.missing + part.missing
        )
    return all_of_it


def _pull_job(job: Job, folder: Path, parts: Collection[Part], told: Callable[[str, int], Told] | None) -> Pulled:
    written = [_write_json(folder / "spec.json", job.spec())]
    written.append(_write_json(folder / "result.json", job.result().model_dump(mode="json")))
    kept: list[Path] = []
    missing: list[str] = []
    if "curves" in parts and (text := job.points_csv()).count("\n") > 1:
        written.append(_write(folder / "curves.csv", text))
    if "log" in parts:
        written += _logs(job, folder, missing)
    for wanted in _files(job, folder, parts, missing):
        if _is_right(wanted):
            kept.append(wanted.target)
            continue
        step = told(str(wanted.target.relative_to(folder)), wanted.bytes) if told else None
        try:
            written.append(download(job.connection, wanted.url, wanted.sha256, wanted.target, step))
        except Gone as error:
            missing.append(f"{wanted.target.name}: {error.detail}")
    return Pulled(folder, written, kept, missing)


def _files(job: Job, folder: Path, parts: Collection[Part], missing: list[str]) -> Iterator[Wanted]:
    """The files that are named by their hash; model cards are written on the way."""
    if "artifacts" in parts:
        for one in job.artifacts():
            if one.kind != _ENCODERS or "checkpoints" not in parts:
                yield Wanted(inside(folder / "artifacts", one.name), one.url, one.sha256, one.bytes)
    if "checkpoints" in parts:
        for row in job.checkpoints():
            whole = job.connection.get(f"/checkpoints/{row['id']}").json()
            if whole["file"] is None:
                continue
            place = folder / "checkpoints" / f"step-{whole['step']}"
            _write(place / "model-card.md", job.connection.get(whole["card"]).text)
            yield Wanted(place / "encoders.safetensors", whole["file"], whole["file_sha256"], whole["file_bytes"])


def _logs(job: Job, folder: Path, missing: list[str]) -> list[Path]:
    try:
        first = read_log(job.connection, job.id)
        pages = [first, *(read_log(job.connection, job.id, part=part) for part in range(1, first.parts))]
    except Gone as error:
        missing.append(f"log: {error.detail}")
        return []
    names = [f"log-{page.part}.txt" if page.part else "log.txt" for page in pages]
    return [_write(folder / name, page.text) for name, page in zip(names, pages, strict=True) if page.epoch]


def _is_right(wanted: Wanted) -> bool:
    try:
        if wanted.target.stat().st_size != wanted.bytes:
            return False
        with wanted.target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
    except OSError:
        return False


def _write_json(target: Path, body: Any) -> Path:
    return _write(target, json.dumps(body, indent=2, ensure_ascii=False, default=str) + "\n")


def _write(target: Path, text: str) -> Path:
    return write_whole(target, text.encode())
