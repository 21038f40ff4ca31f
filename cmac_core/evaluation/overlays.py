"""Attention as pictures: maps over frames and over the spectrogram, in a fixed scale and stretched (Fig. 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from cmac_core.data.windows import Frames
from cmac_core.evaluation.attention_maps import Attended, Cells, Key, MapName, mel_band
from cmac_core.evaluation.localization import fine
from cmac_core.evaluation.plots import INK, blank
from cmac_core.specs import AudioFrontEnd

HEAT = colormaps["inferno"]
SOUND = colormaps["gray"]
OPACITY = 0.55
TRUTH = "#5ee6a8"
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


def draw_map(
    path: Path, attended: Attended, key: Key, spectrogram: Picture, front_end: AudioFrontEnd, note: str = ""
) -> None:
    """One map of one clip: the input, the map in fixed scale, the map stretched to its own range."""
    name = SHORT[key[1]]
    rows: list[Row] = [("input", key, None), (f"{name} on [0, 1]", key, FIXED)]
    rows.append((f"{name}, own range", key, stretch(attended.maps[key])))
    figure = _figure(attended, f"{key[0].capitalize()}: {NAMES[key[1]]}", len(rows), note)
    Sheet(attended, spectrogram, front_end).fill(figure, rows)
    figure.savefig(path)


def draw_both(path: Path, attended: Attended, spectrogram: Picture, front_end: AudioFrontEnd, note: str = "") -> None:
    """All maps of a clip, s above ŝ, each in fixed scale and stretched: frames to the left, sound to the right."""
    video: list[Row] = [("input", ("video", "s"), None)]
    audio: list[Row] = [("input", ("audio", "s"), None)]
    for key, cells in attended.maps.items():
        rows, name = (video if key[0] == "video" else audio), SHORT[key[1]]
        rows += [(f"{name} on [0, 1]", key, FIXED), (f"{name}, own range", key, stretch(cells))]
    figure = _figure(attended, "Guidance s and prediction ŝ", len(video), note, wide=1.62)
    left, right = figure.subfigures(1, 2, width_ratios=[1.75, 1], squeeze=False)[0]
    sheet = Sheet(attended, spectrogram, front_end)
    sheet.fill(left, video)
    sheet.fill(right, audio)
    figure.savefig(path)


Row = tuple[str, Key, tuple[float, float] | None]  # its name, its map, and the scale (None: the bare input)


def _figure(attended: Attended, title: str, rows: int, note: str, wide: float = 1.0) -> Figure:
    figure = blank(8.6 * wide, 0.75 + 1.32 * rows)
    head = f"{title}\n{attended.clip.id}, {attended.t0:.2f} to {attended.t0 + attended.seconds:.2f} s"
    known = "dashed: what sounds" if attended.truth else ""
    remarks = ("SILENT: nothing guides s" if attended.silent else "", note, known)
    text = "   ".join(part for part in (head, *remarks) if part)
    figure.suptitle(text, color=INK, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    return figure


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures of one clip: frames in a row, or the spectrogram across."""

    attended: Attended
    spectrogram: Picture
    front_end: AudioFrontEnd

    def fill(self, figure: Figure | SubFigure, rows: Sequence[Row]) -> None:
        """All rows of one modality, each with the legend of its colors."""
        video = rows[0][1][0] == "video"
        grid = figure.subplots(len(rows), SHOWN_FRAMES if video else 1, squeeze=False)
        for i, (axes, (name, key, scale)) in enumerate(zip(grid, rows, strict=True)):
            if video:
                self._frames(axes, name, key, scale, last=i == len(rows) - 1)
            else:
                self._sound(axes[0], name, key, scale, last=i == len(rows) - 1)
            if scale is not None:
                self._legend(figure, axes, scale)

    def _legend(self, figure: Figure | SubFigure, axes: Sequence[Axes], scale: tuple[float, float]) -> None:
        bar = figure.colorbar(ScalarMappable(Normalize(*scale), HEAT), ax=list(axes), shrink=0.86, aspect=9, pad=0.012)
        bar.set_ticks(list(scale), labels=[f"{value:.3g}" for value in scale])
        bar.ax.tick_params(labelsize=6.5, length=2)
        bar.outline.set_visible(False)

    def _frames(self, axes: Sequence[Axes], name: str, key: Key, scale: tuple[float, float] | None, last: bool) -> None:
        one = self.attended
        frames = one.window.frames
        assert frames is not None
        pictures = list(cropped(frames)) if scale is None else over_frames(frames, one.maps[key], scale)
        for ax, i in zip(axes, np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int), strict=True):
            time_s = one.t0 + i * one.seconds / len(frames)
            ax.imshow(pictures[i], interpolation="bilinear")
            self._mark_box(ax, time_s, frames.shape[2], frames.shape[1])
            bare(ax)
            if last:
                ax.set_xlabel(f"{time_s:.2f} s", fontsize=7.5, color=INK)
        axes[0].set_ylabel(name, fontsize=8.5, color=INK)

    def _mark_box(self, ax: Axes, time_s: float, width: int, height: int) -> None:
        box = self.attended.box(time_s)
        if box is None:
            return
        left, top = (width - min(width, height)) // 2, (height - min(width, height)) // 2
        x, y = box[0] * width - left - 0.5, box[1] * height - top - 0.5
        size = ((box[2] - box[0]) * width, (box[3] - box[1]) * height)
        ax.add_patch(Rectangle((x, y), *size, fill=False, ec=TRUTH, lw=1.1, ls=(0, (3, 2))))

    def _sound(self, ax: Axes, name: str, key: Key, scale: tuple[float, float] | None, last: bool) -> None:
        one, bands = self.attended, len(self.spectrogram)
        extent = (one.t0, one.t0 + one.seconds, -0.5, bands - 0.5)
        opacity, fixed = (0.0, FIXED) if scale is None else (OPACITY, scale)
        picture = over_sound(self.spectrogram, one.maps[key], fixed, opacity)
        ax.imshow(picture, origin="lower", aspect="auto", extent=extent)
        self._mark_band(ax)
        ax.set_ylabel(name, fontsize=8.5, color=INK)
        hertz = [hz for hz in (250, 1000, 4000, 10_000) if hz < self.front_end.sample_rate / 2]
        ax.set_yticks([mel_band(hz, self.front_end) for hz in hertz], [f"{hz / 1000:g} kHz" for hz in hertz])
        ax.tick_params(labelsize=6.5, length=2, labelbottom=last, bottom=last)
        ax.spines[:].set_visible(False)
        if last:
            ax.set_xlabel("time in the clip, s", fontsize=7.5, color=INK)

    def _mark_band(self, ax: Axes) -> None:
        one, truth = self.attended, self.attended.truth
        if truth is None:
            return
        low, high = (mel_band(hz, self.front_end) for hz in truth.band_hz)
        for start, end in truth.intervals_s:
            start, end = max(start, one.t0), min(end, one.t0 + one.seconds)
            if start < end:
                place = ((start, low), end - start, high - low)
                ax.add_patch(Rectangle(*place, fill=False, ec=TRUTH, lw=1.1, ls=(0, (3, 2))))


def bare(ax: Axes) -> None:
    """No ticks, no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
