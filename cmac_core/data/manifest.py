"""The files of a packed dataset: manifest.jsonl, quarantine.jsonl, dataset.json, truth.jsonl and clips/.

The sha256 of manifest.jsonl is the dataset's identity. No torch here: the service reads it too.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

MANIFEST, QUARANTINE, SUMMARY, TRUTH = "manifest.jsonl", "quarantine.jsonl", "dataset.json", "truth.jsonl"

QuarantineReason = Literal[
    "missing_file",  # listed, not there
    "not_media",  # no container that FFmpeg knows
    "no_video",  # a video dataset, and no picture stream
    "no_audio",  # an audio dataset, and no sound stream
    "decode_error",  # opens, but does not decode to its end
    "truncated",  # ends long before its header says
    "too_short",  # fewer than two frames, or less than 0.1 s of sound
    "too_long",  # over max_seconds
    "duplicate",  # the same bytes as another file of the set
]


class Clip(BaseModel):
    """One packed file. Times are on the container's clock, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str  # the source's path without its extension: unique
    path: str  # of the packed file, relative to the dataset
    sha256: str
    bytes: int
    source: str
    duration_s: float
    frames: int = 0  # 0: sound alone
    fps: float = 0.0
    width: int = 0
    height: int = 0
    video_start_s: float = 0.0
    samples: int = 0  # 0: no sound
    sample_rate: int = 0
    audio_start_s: float = 0.0
    peak_dbfs: float | None = None  # None: no sound; -inf is stored as -200
    silent: bool = False
    has_audio: bool = False
    labels: dict[str, str] = {}


class Quarantined(BaseModel):
    """One file that was not packed, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    reason: QuarantineReason
    detail: str = ""


class Truth(BaseModel):
    """What is known of a generated clip (`sounding objects`); boxes are x0, y0, x1, y1 in shares of the picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    cls: str
    sounding: tuple[tuple[float, float, float, float], ...]  # a box for each frame
    silent: tuple[tuple[tuple[float, float, float, float], ...], ...]  # for each silent object, a box for each frame
    silent_moves: tuple[bool, ...]  # for each silent object, whether it moves
    band_hz: tuple[float, float]
    intervals_s: tuple[tuple[float, float], ...]  # when it sounds


class Summary(BaseModel):
    """dataset.json: what the manifest adds up to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    media: Literal["video", "audio"]
    manifest_sha256: str
    clips: int
    quarantined: int
    hours: float
    bytes: int
    with_audio: int
    silent: int
    labels: dict[str, int]
    counts: dict[str, int] = {}
    mel_mean: float | None = None  # over the log-mel pictures of up to 2,000 clips (METHOD 2.1)
    mel_std: float | None = None
    versions: dict[str, str] = {}


def read_clips(dataset: Path) -> list[Clip]:
    """All clips, in the manifest's order (sorted by id). Raises FileNotFoundError when this is no dataset."""
    with (dataset / MANIFEST).open("rb") as file:
        return [Clip.model_validate_json(line) for line in file]


def read_summary(dataset: Path) -> Summary:
    """dataset.json. Raises FileNotFoundError when this is no dataset."""
    return Summary.model_validate_json((dataset / SUMMARY).read_bytes())


def read_truth(dataset: Path) -> dict[str, Truth]:
    """Ground truth by clip id; empty for real data."""
    try:
        with (dataset / TRUTH).open("rb") as file:
            rows = [Truth.model_validate_json(line) for line in file]
    except FileNotFoundError:
        return {}
    return {row.id: row for row in rows}


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
