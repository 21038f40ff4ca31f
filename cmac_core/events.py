"""What a run tells the world: one JSON object a line in events.jsonl, and an exit code. No torch here."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

EVENTS_FILE = "events.jsonl"
LEFT = 75  # exit code of a run that saved and left because it was asked to (EX_TEMPFAIL)
FAILED = 1

Reason = Literal["user_error", "oom", "data_error", "diverged", "disk_full", "bad_spec", "hung"]


class Event(BaseModel):
    """One line. Unknown keys are refused, so that writer and reader cannot drift apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Started(Event):
    """The run has read its spec and is about to work."""

    type: Literal["started"] = "started"
    spec: dict[str, Any]
    versions: dict[str, str]  # python, torch, cmac_lab, git_sha, device, ...
    world_size: int
    resumed_step: int | None = None


class Progress(Event):
    """How far the run is: step `step` of `of` in `phase`, at `rate` (unit: of the phase, per second)."""

    type: Literal["progress"] = "progress"
    phase: str
    step: int
    of: int
    rate: float | None = None
    unit: str = "it"
    eta_s: float | None = None


class Metrics(Event):
    """Values at a step. Values that are not finite are written as null."""

    type: Literal["metrics"] = "metrics"
    step: int
    train_epoch: float | None = None
    values: dict[str, float | None]


class Saved(Event):
    """A checkpoint is on disk, whole. `path` is relative to the run's folder."""

    type: Literal["saved"] = "saved"
    step: int
    train_epoch: float
    path: str
    sha256: str
    bytes: int
    kind: Literal["full", "weights"] = "full"
    metrics: dict[str, float] = {}  # means over the pass that it ends


class Artifact(Event):
    """A file that outlives the run. `path` is relative to the run's folder."""

    type: Literal["artifact"] = "artifact"
    name: str
    kind: str  # attention_raw, attention_png, attention_mp4, plot, table, quarantine, ...
    media_type: str
    path: str
    sha256: str
    bytes: int
    meta: dict[str, Any] = {}


class Value(Event):
    """One number of a result, never without its n."""

    name: str  # r@1, accuracy, pointing, iou, ...
    value: float
    unit: str = "%"
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    split: str | None = None
    fold: str | None = None
    seed: int | None = None
    pool: str | None = None
    selection: Literal["last", "best"] | None = None
    modality: Literal["video", "audio"] | None = None
    paper: float | None = None
    random_init: float | None = None
    chance: float | None = None


class Result(Event):
    """What the run found out. Written once, before Ended."""

    type: Literal["result"] = "result"
    values: tuple[Value, ...]
    protocol: dict[str, Any]
    lineage: dict[str, Any] = {}


class DatasetMade(Event):
    """What a pack made in its output folder."""

    type: Literal["dataset"] = "dataset"
    path: str  # absolute
    manifest_sha256: str
    clips: int
    quarantined: int
    hours: float
    bytes: int
    media: Literal["video", "audio"]
    with_audio: int
    labels: dict[str, int]  # column -> number of different values
    counts: dict[str, int] = {}  # split -> clips, where there is a split column


class Warned(Event):
    """Something a person should know; the run goes on."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class Replaced(Event):
    """A clip that could not be read, and the one taken in its place."""

    type: Literal["replaced"] = "replaced"
    index: int
    by: int
    clip: str
    reason: str


class Ended(Event):
    """The last line. `finished`, `left` (saved, asked to go) or `failed` with a reason of QUEUE 8."""

    type: Literal["ended"] = "ended"
    outcome: Literal["finished", "left", "failed"]
    reason: Reason | None = None
    detail: str = ""
    hint: str = ""


AnyEvent = Annotated[
    Started | Progress | Metrics | Saved | Artifact | Result | DatasetMade | Warned | Replaced | Ended,
    Field(discriminator="type"),
]
_ANY: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


class EventLog:
    """Appends events to a run's events.jsonl, each line at once. Only rank 0 has one."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / EVENTS_FILE).open("ab", buffering=0)

    def write(self, event: AnyEvent) -> None:
        """Append one line in a single write, so that a reader never sees a torn one after its newline."""
        self._file.write(event.model_dump_json().encode() + b"\n")

    def sync(self) -> None:
        """Force what was written to disk: before the process ends."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Nothing can be written any more."""
        self._file.close()


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """Values with those that JSON cannot hold replaced by None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def parse(line: bytes) -> AnyEvent:
    """One line of events.jsonl. Raises pydantic's ValidationError for anything else."""
    return _ANY.validate_json(line)


def read(folder: Path, offset: int = 0) -> tuple[list[AnyEvent], int]:
    """The whole lines from byte `offset` on, and the offset behind them. Half a line is no line yet."""
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_lines(data[:end])), offset + end


def _lines(data: bytes) -> Iterator[AnyEvent]:
    return (parse(line) for line in data.splitlines() if line.strip())
