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
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cmac_core.data.windows import Frames
from cmac_core.evaluation.attention_maps import Attended, Key, MapName, mel_band
from cmac_core.evaluation.localization import Cells, Map, fine, middles
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


def over_frames(frames: Frames, given: Map, scale: tuple[float, float]) -> list[Picture]:
    """Square frames under a map (T', H', W'): between two cells, in time too, both have their share."""
    square = cropped(frames)
    heats = fine(given, square.shape[:3])
    return [heated(frame / 255.0, heat, scale) for frame, heat in zip(square, heats, strict=True)]


def over_sound(spectrogram: Picture, given: Map, scale: tuple[float, float], opacity: float = OPACITY) -> Picture:
    """A log-mel picture (F, T) under a map (F', T'), low bands below."""
    low, high = np.percentile(spectrogram, [2, 99.8])
    ground = SOUND(Normalize(low, max(high, low + 1e-6), clip=True)(spectrogram))[..., :3]
    return heated(ground, fine(given, spectrogram.shape), scale, opacity)


NOTHING = Map(np.zeros((1, 1), np.float32), (middles(1), middles(1)))


def bare_sound(spectrogram: Picture) -> Picture:
    """The log-mel picture alone."""
    return over_sound(spectrogram, NOTHING, FIXED, opacity=0.0)


def draw_map(
    path: Path, attended: Attended, key: Key, spectrogram: Picture, front_end: AudioFrontEnd, note: str = ""
) -> None:
    """One map of one clip: the input, the map in fixed scale, the map stretched to its own range."""
    name = SHORT[key[1]]
    rows: list[Row] = [("input", key, None), (f"{name} on [0, 1]", key, FIXED)]
    rows.append((f"{name}, own range", key, stretch(attended.maps[key].cells)))
    figure = _figure(attended, f"{key[0].capitalize()}: {NAMES[key[1]]}", len(rows), note, LEFT + WIDE + RIGHT)
    Sheet(attended, spectrogram, front_end).fill(figure, rows, LEFT, WIDE)
    _save(figure, path)


def draw_both(path: Path, attended: Attended, spectrogram: Picture, front_end: AudioFrontEnd, note: str = "") -> None:
    """All maps of a clip, s above ŝ, each in fixed scale and stretched: frames to the left, sound to the right."""
    video: list[Row] = [("input", ("video", "s"), None)]
    audio: list[Row] = [("input", ("audio", "s"), None)]
    for key, given in attended.maps.items():
        rows, name = (video if key[0] == "video" else audio), SHORT[key[1]]
        rows += [(f"{name} on [0, 1]", key, FIXED), (f"{name}, own range", key, stretch(given.cells))]
    width = 2 * (LEFT + RIGHT) + WIDE + NARROW
    figure = _figure(attended, "Guidance s and prediction ŝ", len(video), note, width)
    sheet = Sheet(attended, spectrogram, front_end)
    sheet.fill(figure, video, LEFT, WIDE)
    sheet.fill(figure, audio, LEFT + WIDE + RIGHT + LEFT, NARROW)
    _save(figure, path)


# Inches. Axes are placed by hand: matplotlib's layout engine takes longer than all the drawing.
LEFT, RIGHT, TOP, BOTTOM, ROW, SPACE, WIDE, NARROW = 0.75, 0.75, 0.6, 0.42, 1.12, 0.12, 7.0, 3.9
Row = tuple[str, Key, tuple[float, float] | None]  # its name, its map, and the scale (None: the bare input)


def _figure(attended: Attended, title: str, rows: int, note: str, width: float) -> Figure:
    height = TOP + rows * (ROW + SPACE) + BOTTOM
    figure = blank(width, height, None)
    head = f"{title}\n{attended.clip.id}, {attended.t0:.2f} to {attended.t0 + attended.seconds:.2f} s"
    known = "dashed: what sounds" if attended.truth else ""
    remarks = ("SILENT: nothing guides s" if attended.silent else "", note, known)
    text = "   ".join(part for part in (head, *remarks) if part)
    figure.suptitle(
        text, color=INK, fontsize=10.5, fontweight="bold", x=0.1 / width, y=1 - 0.1 / height, ha="left", va="top"
    )
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, pil_kwargs={"compress_level": 3})  # a third larger than the best, in a tenth of its time


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures of one clip: frames in a row, or the spectrogram across."""

    attended: Attended
    spectrogram: Picture
    front_end: AudioFrontEnd

    def fill(self, figure: Figure, rows: Sequence[Row], left: float, wide: float) -> None:
        """All rows of one modality from `left` on, each with the legend of its colors."""
        width, height = figure.get_size_inches()
        draw = self._frames if rows[0][1][0] == "video" else self._sound
        for i, (name, key, scale) in enumerate(rows):
            bottom = height - TOP - (i + 1) * (ROW + SPACE) + SPACE
            ax = figure.add_axes((left / width, bottom / height, wide / width, ROW / height))
            draw(ax, key, scale, i == len(rows) - 1)
            ax.set_ylabel(name, fontsize=8.5, color=INK)
            ax.spines[:].set_visible(False)
            if scale is not None:
                place = ((left + wide + 0.1) / width, (bottom + 0.06) / height, 0.1 / width, (ROW - 0.12) / height)
                self._legend(figure, figure.add_axes(place), scale)

    def _legend(self, figure: Figure, ax: Axes, scale: tuple[float, float]) -> None:
        bar = figure.colorbar(ScalarMappable(Normalize(*scale), HEAT), cax=ax)
        bar.set_ticks(list(scale), labels=[f"{value:.3g}" for value in scale])
        ax.tick_params(labelsize=7, length=2)
        bar.outline.set_visible(False)

    def _frames(self, ax: Axes, key: Key, scale: tuple[float, float] | None, last: bool) -> None:
        """Frames side by side in one picture: many small axes take seconds to lay out."""
        one = self.attended
        frames = one.window.frames
        assert frames is not None
        pictures = list(cropped(frames) / 255.0) if scale is None else over_frames(frames, one.maps[key], scale)
        chosen = np.linspace(0, len(frames) - 1, min(SHOWN_FRAMES, len(frames))).round().astype(int)
        side = len(pictures[0])
        gap = max(2, side // 16)
        strip = np.ones((side, len(chosen) * (side + gap) - gap, 3))
        times = [one.t0 + i * one.seconds / len(frames) for i in chosen]
        for column, (i, time_s) in enumerate(zip(chosen, times, strict=True)):
            left = column * (side + gap)
            strip[:, left : left + side] = pictures[i]
            self._mark_box(ax, time_s, left, frames.shape[2], frames.shape[1])
        ax.imshow(strip, interpolation="bilinear")
        ax.set_yticks([])
        middles = [column * (side + gap) + side / 2 for column in range(len(chosen))]
        ax.set_xticks(middles if last else [], [f"{time_s:.2f} s" for time_s in times] if last else [])
        ax.tick_params(labelsize=7.5, length=0)

    def _mark_box(self, ax: Axes, time_s: float, offset: int, width: int, height: int) -> None:
        """The sounding object's box in the middle square, which begins at `offset` in the strip."""
        box = self.attended.box(time_s)
        if box is None:
            return
        side = min(width, height)
        x = np.clip(np.array(box[::2]) * width - (width - side) // 2, 0, side)
        y = np.clip(np.array(box[1::2]) * height - (height - side) // 2, 0, side)
        corner, size = (offset + x[0] - 0.5, y[0] - 0.5), (x[1] - x[0], y[1] - y[0])
        ax.add_patch(Rectangle(corner, *size, fill=False, ec=TRUTH, lw=1.1, ls=(0, (3, 2))))

    def _sound(self, ax: Axes, key: Key, scale: tuple[float, float] | None, last: bool) -> None:
        one, bands = self.attended, len(self.spectrogram)
        extent = (one.t0, one.t0 + one.seconds, -0.5, bands - 0.5)
        sound = self.spectrogram
        picture = bare_sound(sound) if scale is None else over_sound(sound, one.maps[key], scale)
        ax.imshow(picture, origin="lower", aspect="auto", extent=extent)
        self._mark_band(ax)
        hertz = [hz for hz in (250, 1000, 4000, 10_000) if hz < self.front_end.sample_rate / 2]
        ax.set_yticks([mel_band(hz, self.front_end) for hz in hertz], [f"{hz / 1000:g} kHz" for hz in hertz])
        ax.tick_params(labelsize=6.5, length=2, labelbottom=last, bottom=last)
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
