"""Sounding objects: draw a scene. Classes differ by shape and pattern; colors are drawn for each object anew."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cmac_core.data.corpus_scene import Grade, Scene, Thing

Plane = npt.NDArray[Any]  # float32; numpy's types do not follow it through arithmetic
CHUNK = 2_000_000  # pixels drawn at once


def draw(scene: Scene, size: int, grade: Grade, random: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames (size, size, 3) RGB, in order."""
    ground = _ground(size, grade.colorful, random)
    colors = [_colors(grade.colorful, random) for _ in scene.things]
    frames = len(scene.on)
    step = max(1, CHUNK // size**2)
    for first in range(0, frames, step):
        part = slice(first, min(first + step, frames))
        canvas = np.repeat(ground[None], part.stop - part.start, axis=0)
        for thing, pair in zip(scene.things, colors, strict=True):
            _paint(canvas, thing, part, pair)
        canvas += grade.picture_noise * random.standard_normal(canvas.shape, dtype=np.float32)
        yield from (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def boxes(thing: Thing) -> list[tuple[float, float, float, float]]:
    """x0, y0, x1, y1 in shares of the picture, one for each frame."""
    sides = (thing.x - thing.radius, thing.y - thing.radius, thing.x + thing.radius, thing.y + thing.radius)
    return [tuple(row) for row in np.stack([np.clip(side, 0, 1).round(4) for side in sides], axis=1).tolist()]


def _ground(size: int, colorful: float, random: np.random.Generator) -> Plane:
    """Smooth noise of two grains between two colors."""
    grain = 0.6 * _smooth(size, 5, random) + 0.4 * _smooth(size, 16, random)
    low, high = (0.3 + colorful * random.uniform(-0.2, 0.2, (2, 3))).astype(np.float32)
    return low + (high - low) * grain[..., None]


def _smooth(size: int, cells: int, random: np.random.Generator) -> Plane:
    """Values at the corners of a grid, in between bilinear."""
    corners = random.random((cells + 1, cells + 1), dtype=np.float32)
    at = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    i, share = at.astype(int), at - np.floor(at)
    rows = corners[i] * (1 - share)[:, None] + corners[i + 1] * share[:, None]
    return rows[:, i] * (1 - share) + rows[:, i + 1] * share


def _colors(colorful: float, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Two colors of one object: a bright one, and a dark one that sets off the pattern."""
    bright = 1 - colorful * random.uniform(0, 0.55, 3)
    bright[random.integers(3)] = 1.0
    return np.stack([bright, colorful * random.uniform(0.0, 0.35, 3)]).astype(np.float32)


def _paint(canvas: Plane, thing: Thing, part: slice, colors: npt.NDArray[np.float32]) -> None:
    """Lay one object over the frames `part`, with edges that are soft over one pixel."""
    size = canvas.shape[1]
    radius = (thing.radius[part] * size).astype(np.float32)[:, None, None]
    # Only the rows and columns it ever covers.
    reach = float(radius.max()) * 1.2 + 2
    rows = _span(thing.y[part] * size, reach, size)
    columns = _span(thing.x[part] * size, reach, size)
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5)[None, :, None]
    right = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5)[None, None, :]
    x = (right - (thing.x[part] * size).astype(np.float32)[:, None, None]) / radius
    y = (down - (thing.y[part] * size).astype(np.float32)[:, None, None]) / radius
    turn = (2 * np.pi * thing.angle[part]).astype(np.float32)[:, None, None]
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = thing.opacity * np.clip((1 - SHAPES[thing.look](u, v)) * radius + 0.5, 0, 1)[..., None]
    pattern = PATTERNS[thing.look](u, v)[..., None]
    paint = (colors[1] + (colors[0] - colors[1]) * pattern) * thing.light[part].astype(np.float32)[:, None, None, None]
    region = canvas[:, rows, columns]
    region += inside * (paint - region)


def _span(centers: npt.NDArray[np.float64], reach: float, size: int) -> slice:
    return slice(max(0, int(centers.min() - reach)), min(size, int(centers.max() + reach) + 1))


def _wave(value: Plane) -> Plane:
    """Between 0 and 1, with broad flats: stripes rather than a gradient."""
    return np.clip(0.5 + 0.9 * np.sin(2 * np.pi * value), 0, 1)


# Below 1 is inside. All are their own mirror images, so that flipping a picture does not change its class.
SHAPES: tuple[Callable[[Plane, Plane], Plane], ...] = (
    lambda u, v: np.hypot(u, v),  # disk
    lambda u, v: np.maximum(np.abs(u), np.abs(v)) / 0.85,  # square
    lambda u, v: np.maximum(v / 0.8, (1.6 * np.abs(u) - v) / 0.9),  # triangle
    lambda u, v: np.abs(u) + np.abs(v),  # diamond
    lambda u, v: np.minimum(np.maximum(np.abs(u) * 2.8, np.abs(v)), np.maximum(np.abs(u), np.abs(v) * 2.8)),  # cross
    lambda u, v: np.abs(np.hypot(u, v) - 0.7) / 0.3,  # ring
    lambda u, v: np.maximum(np.abs(u), np.abs(v) * 2.2),  # bar
    lambda u, v: np.maximum(np.abs(u), np.abs(v) / (0.15 + 0.85 * np.abs(u))),  # bow
)
PATTERNS: tuple[Callable[[Plane, Plane], Plane], ...] = (
    lambda u, v: _wave(1.2 * v),
    lambda u, v: _wave(2.6 * u),
    lambda u, v: _wave(1.3 * np.hypot(u, v) + 0.25),
    lambda u, v: np.abs(_wave(1.3 * u + 0.125) - _wave(1.3 * v)),  # checks
    lambda u, v: _wave(1.2 * u + 0.25),
    lambda u, v: _wave(2.6 * v),
    lambda u, v: np.ones_like(u + v),  # plain
    lambda u, v: np.maximum(_wave(1.5 * u + 0.25) + _wave(1.5 * v) - 1, 0),  # dots
)
