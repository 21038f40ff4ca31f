"""Does a map point at what sounds? Pointing game and overlap against known boxes, bands and times.

Cells of a map stand at places. `pointing` is whether the map's peak lies in the target: the place of its highest cell,
made finer by the parabola through that cell and its neighbors (over equal cells, their mean, so that a flat map scores
what chance does). `overlap` is the intersection over union of the target
and of as many of the map's highest points as the target has, on a fine grid, on which maps are interpolated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

GRID = 64  # points along a side of the picture on which video maps are scored

Array = npt.NDArray[np.float64]
Cells = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in shares of the picture


class Map(NamedTuple):
    """A map, (T', H', W') of frames or (F', T') of sound, and where its cells stand in what it is a map of."""

    cells: Cells
    centers: tuple[Array, ...]  # along each axis, in shares of the input's length, evenly spaced


def middles(count: int) -> Array:
    """Middles of `count` equal parts of 0 to 1: where cells stand that are means over such parts."""
    return (np.arange(count) + 0.5) / count


def field_centers(length: int, step: int) -> Array:
    """Where the cells of an encoder's map stand: cell i sees as far to both sides of sample i * step of its input.

    All its kernels are odd and padded alike on both sides, so nothing moves a receptive field but the strides: it lies
    half a step before the middle of an equal share (the arithmetic is that of Araujo et al. 2019, Distill, eq. for
    the center of a receptive field).
    """
    return (np.arange(-(-length // step)) * step + 0.5) / length


def peaks(cells: Array) -> Array:
    """Where the highest cells of a map stand, (cells that are equally high, axes), in cells and parts of them.

    Cells are samples, and what they sample is highest between them: along each axis at the vertex of the parabola
    through a cell and its two neighbors (as for the peaks of spectra: Smith and Serra 1987, PARSHL). An outermost
    cell has one neighbor only and stays where it is.
    """
    return np.array(
        [[_vertex(cells, at, axis) for axis in range(cells.ndim)] for at in np.argwhere(cells == cells.max())]
    )


def _vertex(cells: Array, at: npt.NDArray[np.int64], axis: int) -> float:
    place = int(at[axis])
    line = cells[tuple(slice(None) if i == axis else index for i, index in enumerate(at))]
    if not 0 < place < len(line) - 1:
        return place
    before, peak, after = line[place - 1 : place + 2]
    bend = before - 2 * peak + after
    return float(place + (before - after) / 2 / bend) if bend < 0 else place


def pointing(cells: Array, centers: Sequence[Array], target: Array) -> float:
    """Share of a target of zeros and ones, over all that the map is a map of, at the peak of a map's cells."""
    found = zip(peaks(cells).T, centers, strict=True)
    places = [np.interp(axis, np.arange(len(stand)), stand) for axis, stand in found]
    return float(target[_points(target, places)].mean())


def at_cells(target: Array, centers: Sequence[Array]) -> Array:
    """What a target holds where a map's cells stand."""
    return target[np.ix_(*_points(target, centers))]


def _points(target: Array, places: Sequence[Array]) -> tuple[npt.NDArray[np.int64], ...]:
    """Indices of the points of a target in which places (in shares of its length) lie."""
    sides = zip(places, target.shape, strict=True)
    return tuple(np.minimum((axis * count).astype(np.int64), count - 1) for axis, count in sides)


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


def fine(given: Map, size: tuple[int, ...]) -> Array:
    """A map on a grid of `size` points: linear along each axis between cells, and level beyond the outermost ones."""
    finer = given.cells.astype(np.float64)
    for axis, (count, centers) in enumerate(zip(size, given.centers, strict=True)):
        finer = _along(finer, axis, count, centers)
    return finer


def _along(cells: Array, axis: int, count: int, centers: Array) -> Array:
    at = np.interp(middles(count), centers, np.arange(len(centers)))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(centers) - 1)
    share = (at - low).reshape(-1, *[1] * (cells.ndim - axis - 1))
    return (1 - share) * cells.take(low, axis) + share * cells.take(high, axis)


class Score(NamedTuple):
    """Of one map of one clip, all as shares."""

    pointing: float
    overlap: float | None
    chance: float  # of pointing: the share of cells that stand in the target
    area: float  # the target's share of the grid


def score_video(given: Map, targets: Sequence[Array]) -> Score | None:
    """A map (T', H', W') against a mask for each of T frames, mean over frames with a target; None without any."""
    there = [i for i, target in enumerate(targets) if target.any()]
    if not there:
        return None
    times, *sides = given.centers
    cells = _along(given.cells.astype(np.float64), 0, len(targets), times)
    heats = fine(given, (len(targets), *targets[0].shape))
    return Score(
        float(np.mean([pointing(cells[i], sides, targets[i]) for i in there])),
        float(np.mean([overlap(heats[i], targets[i]) for i in there])),
        float(np.mean([at_cells(targets[i], sides).mean() for i in there])),
        float(np.mean([targets[i].mean() for i in there])),
    )


class SoundTarget(NamedTuple):
    """Where in the spectrogram a clip's object sounds: (bands, frames) of zeros and ones."""

    exact: Array
    widened: Array  # by half a cell of the map in frequency: a band may lie between two cells
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


def score_sound(given: Map, target: SoundTarget) -> tuple[Score, Score] | None:
    """A map (F', T') against the sounding part of the spectrogram, and in frequency alone; None when silent."""
    if not target.exact.any():
        return None
    cells = given.cells.astype(np.float64)
    fits = overlap(fine(given, target.exact.shape), target.exact)
    both, alone = (float(at_cells(mask, given.centers).mean()) for mask in (target.widened, target.bands))
    return (
        Score(pointing(cells, given.centers, target.widened), fits, both, float(target.exact.mean())),
        Score(pointing(cells, given.centers, target.bands), None, alone, float(target.bands.mean())),
    )
