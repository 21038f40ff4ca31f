"""Write a dataset's own files: manifest, quarantine list, truth and summary; each appears whole or not at all."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from cmac_core.data.manifest import MANIFEST, QUARANTINE, SUMMARY, TRUTH, Clip, Quarantined, Summary, Truth
from cmac_core.data.packing import VERSION
from cmac_core.versions import installed


def summarize(
    media: Literal["video", "audio"],
    clips: list[Clip],
    quarantined: list[Quarantined],
    mel: tuple[float, float] | None = None,
) -> Summary:
    """What the manifest of these clips (sorted by id) adds up to."""
    columns = sorted({column for clip in clips for column in clip.labels})
    splits = [clip.labels["split"] for clip in clips if clip.labels.get("split")]
    return Summary(
        media=media,
        manifest_sha256=sha256(_lines(clips)).hexdigest(),
        clips=len(clips),
        quarantined=len(quarantined),
        hours=round(sum(clip.duration_s for clip in clips) / 3600, 6),
        bytes=sum(clip.bytes for clip in clips),
        with_audio=sum(clip.has_audio for clip in clips),
        silent=sum(clip.silent for clip in clips),
        labels={column: len({clip.labels[column] for clip in clips if column in clip.labels}) for column in columns},
        counts={split: splits.count(split) for split in sorted(set(splits))},
        mel_mean=None if mel is None else round(mel[0], 6),
        mel_std=None if mel is None else round(mel[1], 6),
        versions=installed("cmac-lab", "av") | {"packing": str(VERSION)},
    )


def write_dataset(
    output: Path, clips: list[Clip], quarantined: list[Quarantined], truths: list[Truth], summary: Summary
) -> None:
    """Everything but the clips themselves. The summary comes last: with it the folder is a dataset."""
    write_quarantine(output, quarantined)
    if truths:
        replace_file(output / TRUTH, _lines(truths))
    replace_file(output / MANIFEST, _lines(clips))
    replace_file(output / SUMMARY, summary.model_dump_json(indent=2).encode() + b"\n")


def write_quarantine(output: Path, quarantined: list[Quarantined]) -> None:
    """The list of files that were not packed."""
    replace_file(output / QUARANTINE, _lines(quarantined))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a machine that lost power, sees the old or the new one whole."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lines(rows: Iterable[BaseModel]) -> bytes:
    return b"".join(row.model_dump_json().encode() + b"\n" for row in rows)
