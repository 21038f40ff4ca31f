"""Does a map point at what sounds? Pointing game and overlap against known boxes, bands and times.

Scores are taken on a fine grid, on which maps are interpolated. `pointing` is the share of the target at the map's
peak (over equal peaks, their mean, so that a flat map scores what chance does). `overlap` is the intersection
over union of the target and of as many of the map's highest cells as the target has.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

GRID = 64  # points along a side of the picture on which video maps are scored

Array = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in shares of the picture


def pointing(heat: Array, target: Array) -> float:
    """Share of the target (0 to 1 at each point) at the peak of a map of the same shape."""
    return float(target[heat == heat.max()].mean())


def overlap(heat: Array, target: Array) -> float:
    """IoU of a target of zeros and ones and the map's top area of equal size; equals at its edge count in part."""
    size = int(target.sum())
    assert size > 0, "an empty target"
    edge = np.partition(heat.ravel(), -size)[-size]
    above, at = heat > edge, heat == edge
    top = above + at * ((size - above.sum()) / at.sum())
    both = float((top * target).sum())
    return both / (2 * size - both)


def chance_overlap(share: float) -> float:
    """Expected IoU of a random map with a target of this share of the grid: an area a of each meets in a²."""
    return share / (2 - share)


class View(NamedTuple):
    """The part of a picture that a center crop shows, in shares of the picture."""

    x0: float
    y0: float
    x1: float
    y1: float


def visible(width: int, height: int, crop: int) -> View:
    """What `center_view` shows: short side resized to the crop, then the middle of the long side."""
    short = min(width, height)
    wide, tall = crop * width // short, crop * height // short
    left, top = round(0.5 * (wide - crop)), round(0.5 * (tall - crop))
    return View(left / wide, top / tall, (left + crop) / wide, (top + crop) / tall)


def box_mask(box: Box, view: View, grid: int = GRID) -> Array:
    """(grid, grid) ones where the middle of a point lies in the box."""
    x = view.x0 + (view.x1 - view.x0) * (np.arange(grid) + 0.5) / grid
    y = view.y0 + (view.y1 - view.y0) * (np.arange(grid) + 0.5) / grid
    across, down = (box[0] <= x) & (x < box[2]), (box[1] <= y) & (y < box[3])
    return (down[:, None] & across[None, :]).astype(np.float64)


def fine(cells: npt.NDArray[np.float32], size: tuple[int, int]) -> Array:
    """A map (..., H, W) on a finer grid, bilinear."""
    maps = torch.from_numpy(np.ascontiguousarray(cells, dtype=np.float32))
    maps = maps.reshape(-1, 1, *maps.shape[-2:])
    finer = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    return finer.reshape(*cells.shape[:-2], *size).numpy().astype(np.float64)


class Score(NamedTuple):
    """Of one map of one clip, all as shares; `area` is the target's share of the grid, what chance points at."""

    pointing: float
    overlap: float | None
    area: float


def score_video(cells: npt.NDArray[np.float32], targets: Sequence[Array]) -> Score | None:
    """A map (T', H', W') against a mask for each of T frames, mean over frames with a target; None without any.

    A cell of time stands for the frames it was computed from.
    """
    maps = fine(cells, targets[0].shape)
    pairs = [(maps[i * len(maps) // len(targets)], target) for i, target in enumerate(targets) if target.any()]
    if not pairs:
        return None
    return Score(
        float(np.mean([pointing(heat, target) for heat, target in pairs])),
        float(np.mean([overlap(heat, target) for heat, target in pairs])),
        float(np.mean([target.mean() for _, target in pairs])),
    )


class SoundTarget(NamedTuple):
    """Where in the spectrogram a clip's object sounds: (bands, frames) of zeros and ones."""

    exact: Array
    widened: Array  # by half a cell of the map in frequency, for a peak that lies at a cell's middle
    bands: Array  # widened, at all times: pointing in frequency alone


def sound_target(
    band_hz: tuple[float, float],
    intervals_s: Sequence[tuple[float, float]],
    centers_hz: Array,
    times_s: Array,
    rows: int,
) -> SoundTarget:
    """Mask of the active band at the times it sounds. `rows` are the map's cells in frequency."""
    on = np.zeros(len(times_s), dtype=bool)
    for start, end in intervals_s:
        on |= (start <= times_s) & (times_s < end)
    inside = (band_hz[0] <= centers_hz) & (centers_hz < band_hz[1])
    reach = round(len(centers_hz) / rows / 2)
    wide = np.convolve(inside, np.ones(2 * reach + 1), "same") > 0
    exact, widened = (band[:, None] & on[None, :] for band in (inside, wide))
    bands = np.repeat(wide[:, None], len(times_s), 1)
    return SoundTarget(*(mask.astype(np.float64) for mask in (exact, widened, bands)))


def score_sound(cells: npt.NDArray[np.float32], target: SoundTarget) -> tuple[Score, Score] | None:
    """A map (F', T') against the sounding part of the spectrogram, and in frequency alone; None when silent."""
    if not target.exact.any():
        return None
    heat = fine(cells, target.exact.shape)
    both = Score(pointing(heat, target.widened), overlap(heat, target.exact), float(target.widened.mean()))
    alone = Score(pointing(heat, target.bands), None, float(target.bands.mean()))
    return both, alone
