"""Attention as pictures: maps over frames and over the spectrogram, in a fixed scale and stretched (Fig. 5)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from cmac_core.data.windows import Frames
from cmac_core.evaluation.attention_maps import Attended, Cells, Key, MapName
from cmac_core.evaluation.localization import fine
from cmac_core.evaluation.plots import INK, blank

HEAT = colormaps["inferno"]
SOUND = colormaps["gray"]
OPACITY = 0.55
SHOWN_FRAMES = 6
NAMES: dict[MapName, str] = {"s": "s, guided by the other modality", "s_hat": "ŝ, the encoder's own prediction"}
SHORT: dict[MapName, str] = {"s": "s", "s_hat": "ŝ"}
Picture = npt.NDArray[np.float64]
FIXED = (0.0, 1.0)


def cropped(frames: Frames) -> Frames:
    """The middle square: what the encoder sees."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frames[:, top : top + side, left : left + side]


def stretch(cells: Cells) -> tuple[float, float]:
    """Lowest and highest value of a map, a hair apart where it is flat."""
    low, high = float(cells.min()), float(cells.max())
    return low, max(high, low + 1e-6)


def heated(ground: Picture, heat: Picture, scale: tuple[float, float], opacity: float = OPACITY) -> Picture:
    """A picture (H, W, 3) in [0, 1] under a map (H, W): gray ground, so that all color is attention."""
    gray = ground @ np.array([0.299, 0.587, 0.114])
    color = HEAT(Normalize(*scale, clip=True)(heat))[..., :3]
    return (1 - opacity) * gray[..., None] + opacity * color


def over_frames(frames: Frames, cells: Cells, scale: tuple[float, float]) -> list[Picture]:
    """Square frames under a map (T', H', W'), trilinear: between two cells of time both have their share."""
    square = cropped(frames)
    side = square.shape[1]
    maps = fine(cells, (side, side))
    at = np.clip((np.arange(len(square)) + 0.5) * len(maps) / len(square) - 0.5, 0, len(maps) - 1)
    low = np.floor(at).astype(int)
    high, share = np.minimum(low + 1, len(maps) - 1), at - low
    heats = [(1 - w) * maps[a] + w * maps[b] for a, b, w in zip(low, high, share, strict=True)]
    return [heated(frame / 255.0, heat, scale) for frame, heat in zip(square, heats, strict=True)]


def over_sound(spectrogram: Picture, cells: Cells, scale: tuple[float, float], opacity: float = OPACITY) -> Picture:
    """A log-mel picture (F, T) under a map (F', T'), low bands below."""
    low, high = np.percentile(spectrogram, [2, 99.8])
    ground = SOUND(Normalize(low, max(high, low + 1e-6), clip=True)(spectrogram))[..., :3]
    return heated(ground, fine(cells, spectrogram.shape), scale, opacity)


def draw_map(path: Path, attended: Attended, key: Key, spectrogram: Picture, note: str = "") -> None:
    """One map of one clip: the input, the map in fixed scale, the map stretched to its own range."""
    rows = [("input", None), (f"{SHORT[key[1]]} on [0, 1]", FIXED)]
    rows.append((f"{SHORT[key[1]]}, own range", stretch(attended.maps[key])))
    figure = _figure(attended, f"{key[0].capitalize()}: {NAMES[key[1]]}", len(rows), note)
    _fill(figure, attended, [(name, key, scale) for name, scale in rows], key[0], spectrogram)
    figure.savefig(path)


def draw_both(path: Path, attended: Attended, spectrogram: Picture, note: str = "") -> None:
    """All maps of a clip, s above ŝ, each in fixed scale and stretched: frames to the left, sound to the right."""
    video: list[Row] = [("input", ("video", "s"), None)]
    audio: list[Row] = [("input", ("audio", "s"), None)]
    for name in ("s", "s_hat"):
        for rows, modality in ((video, "video"), (audio, "audio")):
            key: Any = (modality, name)
            if key in attended.maps:
                scales = (("on [0, 1]", FIXED), ("own range", stretch(attended.maps[key])))
                rows.extend((f"{SHORT[key[1]]} {words}", key, scale) for words, scale in scales)
    figure = _figure(attended, "Guidance s and prediction ŝ", len(video), note, wide=1.62)
    left, right = figure.subfigures(1, 2, width_ratios=[1.75, 1], squeeze=False)[0]
    _fill(left, attended, video, "video", spectrogram)
    _fill(right, attended, audio, "audio", spectrogram)
    figure.savefig(path)


Row = tuple[str, Key, tuple[float, float] | None]  # its name, its map, and the scale (None: the bare input)


def _figure(attended: Attended, title: str, rows: int, note: str, wide: float = 1.0) -> Figure:
    figure = blank(8.6 * wide, 0.75 + 1.32 * rows)
    silent = "   SILENT: nothing guides s" if attended.silent else ""
    head = f"{title}\n{attended.clip.id}, {attended.t0:.2f} to {attended.t0 + attended.seconds:.2f} s{silent}"
    figure.suptitle(
        head + (f"   {note}" if note else ""), color=INK, fontsize=10.5, fontweight="bold", x=0.01, ha="left"
    )
    return figure


def _fill(
    figure: Figure | SubFigure, attended: Attended, rows: Sequence[Row], modality: str, spectrogram: Picture
) -> None:
    draw = _video_row if modality == "video" else _sound_row
    columns = SHOWN_FRAMES if modality == "video" else 1
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, (name, key, scale) in zip(grid, rows, strict=True):
        last = axes is grid[-1]
        draw(axes, attended, name, key, scale, spectrogram, last)
        if scale is not None:
            mappable = ScalarMappable(Normalize(*scale), HEAT)
            bar = figure.colorbar(mappable, ax=list(axes), shrink=0.86, aspect=9, pad=0.012)
            bar.ax.tick_params(labelsize=6.5, length=2)
            bar.set_ticks([scale[0], scale[1]], labels=[f"{scale[0]:.2f}", f"{scale[1]:.2f}"])
            bar.outline.set_visible(False)


def _video_row(
    axes: Sequence[Axes],
    attended: Attended,
    name: str,
    key: Key,
    scale: tuple[float, float] | None,
    spectrogram: Picture,
    last: bool,
) -> None:
    frames = attended.window.frames
    assert frames is not None
    chosen = np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int)
    pictures = list(cropped(frames)) if scale is None else over_frames(frames, attended.maps[key], scale)
    for ax, i in zip(axes, chosen, strict=True):
        ax.imshow(pictures[i], interpolation="bilinear")
        bare(ax)
        if last:
            ax.set_xlabel(f"{attended.t0 + i * attended.seconds / len(frames):.2f} s", fontsize=7.5, color=INK)
    axes[0].set_ylabel(name, fontsize=8.5, color=INK)


def _sound_row(
    axes: Sequence[Axes],
    attended: Attended,
    name: str,
    key: Key,
    scale: tuple[float, float] | None,
    spectrogram: Picture,
    last: bool,
) -> None:
    ax = axes[0]
    extent = (attended.t0, attended.t0 + attended.seconds, 0.0, float(len(spectrogram)))
    if scale is None:
        low, high = np.percentile(spectrogram, [2, 99.8])
        ax.imshow(spectrogram, cmap=SOUND, vmin=low, vmax=high, origin="lower", aspect="auto", extent=extent)
    else:
        picture = over_sound(spectrogram, attended.maps[key], scale)
        ax.imshow(picture, origin="lower", aspect="auto", extent=extent)
    ax.set_ylabel(f"{name}\nmel band", fontsize=7.5, color=INK)
    ax.tick_params(labelsize=6.5, length=2)
    ax.set_yticks([0, len(spectrogram) // 2, len(spectrogram)])
    if last:
        ax.set_xlabel("time in the clip, s", fontsize=7.5, color=INK)
    else:
        ax.set_xticks([])
    ax.spines[:].set_visible(False)


def bare(ax: Axes) -> None:
    """No ticks, no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
