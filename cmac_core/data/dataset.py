"""A packed dataset as its readers see it: clips, where they may be cut, and how they divide."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmac_core.data.manifest import Clip, Summary, Truth, read_clips, read_summary, read_truth
from cmac_core.specs.splits import Split


class PackedDataset:
    """Clips of one packed folder, filtered by their columns, in the manifest's order."""

    def __init__(self, folder: Path, clips: list[Clip], summary: Summary) -> None:
        self.folder, self.clips, self.summary = folder, clips, summary

    def __len__(self) -> int:
        return len(self.clips)

    def path(self, clip: Clip) -> Path:
        """Where the packed file of a clip lies."""
        return self.folder / clip.path

    @cached_property
    def truth(self) -> dict[str, Truth]:
        """Ground truth by clip id; empty for real data."""
        return read_truth(self.folder)


def open_dataset(folder: Path, where: dict[str, str] | None = None) -> PackedDataset:
    """The dataset in `folder`, only the clips whose columns have the values of `where`.

    Raises ValueError, in a user's words, when the folder is no packed dataset or `where` leaves nothing.
    """
    try:
        clips, summary = read_clips(folder), read_summary(folder)
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise ValueError(f"{folder} is not a packed dataset: {missing} is missing; pack it first") from error
    kept = clips
    for column, value in (where or {}).items():
        _require_column(clips, column, "where")
        kept = [clip for clip in kept if clip.labels.get(column) == value]
        if not kept:
            raise ValueError(f"where: no clip has {column} = {value!r}; {_values(clips, column)}")
    return PackedDataset(folder, kept, summary)


def window_bounds(clip: Clip, seconds: float, video: bool, audio: bool) -> tuple[float, float]:
    """The interval (lo, hi) of starts at which the needed streams cover a window; hi is lo when none does."""
    spans = []
    if video and clip.frames:
        spans.append((clip.video_start_s, clip.video_start_s + clip.frames / clip.fps))
    if audio and clip.has_audio:
        spans.append((clip.audio_start_s, clip.audio_start_s + clip.samples / clip.sample_rate))
    lo = max((start for start, _ in spans), default=0.0)
    hi = min((end for _, end in spans), default=0.0) - seconds
    return lo, max(lo, hi)


def uniform_starts(clip: Clip, n: int, seconds: float, video: bool, audio: bool) -> list[float]:
    """`n` starts spread evenly from the first possible one to the last, both included (METHOD 7.1)."""
    lo, hi = window_bounds(clip, seconds, video, audio)
    return [float(start) for start in np.linspace(lo, hi, n)]


class Fold(NamedTuple):
    """Indices of training and test clips; `name` is the fold's value, None where there is only one."""

    name: str | None
    train: list[int]
    test: list[int]


def divide(clips: Sequence[Clip], split: Split, seed: int) -> list[Fold]:
    """Training and test clips: one fold for a column or a seeded split, one per value for folds.

    Raises ValueError, naming the column and the values it has, when a side would be empty.
    """
    if split.folds is not None:
        return _by_folds(clips, split.folds)
    if split.seeded is not None:
        return [_seeded(clips, split.seeded, split.group, seed)]
    return [_by_column(clips, split)]


def _by_column(clips: Sequence[Clip], split: Split) -> Fold:
    column = split.by_column
    assert column is not None
    if split.column is None and not any(column in clip.labels for clip in clips):
        raise ValueError(
            f"split: the dataset has no column split, and none is named; {_columns(clips)}; "
            "name one (column or folds), or divide by chance with seeded"
        )
    _require_column(clips, column, "split.column")
    sides = [
        [i for i, clip in enumerate(clips) if clip.labels.get(column) == mark] for mark in (split.train, split.test)
    ]
    for field, mark, side in zip(("train", "test"), (split.train, split.test), sides, strict=True):
        if not side:
            raise ValueError(f"split.{field}: no clip has {column} = {mark!r}; {_values(clips, column)}")
    return Fold(None, *sides)


def _by_folds(clips: Sequence[Clip], column: str) -> list[Fold]:
    _require_column(clips, column, "split.folds")
    marks = [clip.labels.get(column) for clip in clips]
    values = sorted({mark for mark in marks if mark is not None}, key=_natural)
    if len(values) < 2:
        raise ValueError(f"split.folds: {column} has one value only ({values[0]!r}); folds need two or more")
    return [
        Fold(
            value,
            [i for i, mark in enumerate(marks) if mark is not None and mark != value],
            [i for i, mark in enumerate(marks) if mark == value],
        )
        for value in values
    ]


def _seeded(clips: Sequence[Clip], share: float, group: str | None, seed: int) -> Fold:
    """Whole groups, in an order drawn from the seed, until the training share is reached."""
    if group is not None:
        _require_column(clips, group, "split.group")
    members: dict[str, list[int]] = {}
    for i, clip in enumerate(clips):
        members.setdefault(clip.id if group is None else clip.labels.get(group, clip.id), []).append(i)
    if len(members) < 2:
        what = "clip" if group is None else f"value of {group}"
        raise ValueError(f"split.seeded: there is only one {what}, which cannot be divided")
    names = sorted(members)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(names))
    train: list[int] = []
    test: list[int] = []
    goal = share * len(clips)
    for position, which in enumerate(order):
        chosen = members[names[which]]
        # Neither side is left empty, however large a group is.
        last = position == len(order) - 1
        full = len(train) + len(chosen) / 2 > goal
        (test if train and (full or (last and not test)) else train).extend(chosen)
    return Fold(None, sorted(train), sorted(test))


def _natural(value: str) -> tuple[float, str]:
    """Numbers by size, before words."""
    return (float(value), "") if value.isdecimal() else (math.inf, value)


def _require_column(clips: Sequence[Clip], column: str, field: str) -> None:
    if not any(column in clip.labels for clip in clips):
        raise ValueError(f"{field}: the dataset has no column {column!r}; {_columns(clips)}")


def _columns(clips: Sequence[Clip]) -> str:
    names = sorted({name for clip in clips for name in clip.labels})
    return f"it has {', '.join(names)}" if names else "it has no columns at all"


def _values(clips: Sequence[Clip], column: str) -> str:
    values = sorted({clip.labels[column] for clip in clips if column in clip.labels}, key=_natural)
    shown = ", ".join(repr(value) for value in values[:12])
    return f"the column has {shown}" + (f" and {len(values) - 12} more" if len(values) > 12 else "")
