"""Attention of chosen windows: s and ŝ of both modalities, and the places and times their cells stand for."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmac_core.data.manifest import Clip, Truth
from cmac_core.data.windows import Window
from cmac_core.evaluation.localization import Array, Box, Cells, Map, field_centers, visible
from cmac_core.evaluation.showing import Shown
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.branch import Modality, Outputs, Side, saliency_head
from cmac_core.objectives.cmac import Cmac, Maps
from cmac_core.specs import AudioFrontEnd
from cmac_core.specs.jobs import Precision
from cmac_core.training.precision import autocast

MapName = Literal["s", "s_hat"]
Key = tuple[Modality, MapName]
SILENT_PEAK = 32768 * 10 ** (-60 / 20)  # RULINGS 7: below -60 dBFS there is nothing to hear

UNGROUPED = 2**31  # any batch is one group
KEYS: tuple[Key, ...] = (("video", "s"), ("video", "s_hat"), ("audio", "s"), ("audio", "s_hat"))


@dataclass(frozen=True)
class Attended:
    """One window of one clip with its maps; those that the checkpoint has no network for are absent."""

    clip: Clip
    t0: float
    window: Window
    seconds: float
    maps: Mapping[Key, Map]
    truth: Truth | None = None  # of a generated clip

    @property
    def silent(self) -> bool:
        """Whether the window has no sound to speak of, so that s of the video is guided by nothing."""
        assert self.window.sound is not None
        return bool(np.abs(self.window.sound.astype(np.int32)).max(initial=0) < SILENT_PEAK)

    def box(self, time_s: float) -> Box | None:
        """Where the sounding object is at a time on the container's clock, in shares of the picture."""
        if self.truth is None:
            return None
        at = round((time_s - self.clip.video_start_s) * self.clip.fps)
        return self.truth.sounding[min(max(at, 0), len(self.truth.sounding) - 1)]

    def coordinates(self, key: Key, front_end: AudioFrontEnd, crop: int) -> dict[str, Any]:
        """Where the cells stand: seconds on the container's clock; shares of the whole picture, or hertz."""
        centers = self.maps[key].centers
        if key[0] == "audio":
            bands, times = centers
            hertz = mel_hz(bands * front_end.n_mels - 0.5, front_end)
            return {"times_s": self.t0 + self.seconds * times, "freqs_hz": hertz}
        times, y, x = centers
        view = visible(self.clip.width, self.clip.height, crop)
        y, x = view.y0 + (view.y1 - view.y0) * y, view.x0 + (view.x1 - view.x0) * x
        return {"times_s": self.t0 + self.seconds * times, "y": y, "x": x, "visible": np.array(view)}


def mel_hz(band: npt.NDArray[np.float64], front_end: AudioFrontEnd) -> npt.NDArray[np.float64]:
    """Center frequency of mel bands by number, fractions too (HTK's scale, as LogMel's filters)."""
    top = 2595 * np.log10(1 + front_end.sample_rate / 2 / 700)
    return np.asarray(700 * (10 ** (top * (band + 1) / (front_end.n_mels + 1) / 2595) - 1), dtype=np.float64)


def mel_band(hz: float, front_end: AudioFrontEnd) -> float:
    """The inverse of `mel_hz`."""
    top = 2595 * np.log10(1 + front_end.sample_rate / 2 / 700)
    return float(2595 * np.log10(1 + hz / 700) / top * (front_end.n_mels + 1) - 1)


class Seen(NamedTuple):
    """What the networks say of a batch, and where the cells of each modality's maps stand."""

    outputs: Outputs
    centers: dict[Modality, tuple[Array, ...]]


class Attender:
    """A frozen model that says where it looks."""

    def __init__(self, cmac: Cmac, device: torch.device, precision: Precision) -> None:
        self.cmac, self.precision = cmac.eval().to(device), precision

    @torch.no_grad()
    def sees(self, shown: Shown) -> Seen:
        """What the networks say of a batch: one pass serves matched and mismatched pairs."""
        assert shown.frames is not None
        assert shown.spectrogram is not None
        with autocast(self.precision, shown.frames.device):
            outputs = self.cmac.sides(shown.frames, shown.spectrogram)
        inputs: dict[Modality, Tensor] = {"video": shown.frames, "audio": shown.spectrogram}
        return Seen(outputs, {name: self._centers(name, batch) for name, batch in inputs.items()})

    def _centers(self, modality: Modality, batch: Tensor) -> tuple[Array, ...]:
        steps: Sequence[int] = self.cmac.query.encoders[modality].steps  # type: ignore[assignment]
        return tuple(field_centers(length, step) for length, step in zip(batch.shape[2:], steps, strict=True))

    def maps(self, seen: Seen, partners: Sequence[int] | None = None) -> list[dict[Key, Map]]:
        """Maps of each clip; with `partners`, guided by the other modality of those clips instead of their own."""
        video, audio = seen.outputs.video, seen.outputs.audio
        assert video is not None
        assert audio is not None
        if partners is None:
            return _by_clip(self.cmac.maps(video, audio), seen.centers)
        by_sound = self.cmac.maps(video, _rows(audio, partners))
        by_picture = self.cmac.maps(_rows(video, partners), audio)
        return _by_clip(Maps(by_sound.s_v, None, by_picture.s_a, None), seen.centers)

    def with_untrained_heads(self, seed: int) -> "Attender | None":
        """The same encoders under fresh saliency heads: how much ŝ owes to their training. None without heads."""
        if not self.cmac.query.saliency:
            return None
        other = copy.deepcopy(self)
        model = self.cmac.spec.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = {name: saliency_head(name, model) for name in ("video", "audio")}
        for head in fresh.values():
            # Running statistics that never ran would saturate ŝ; a batch's own ones keep it readable.
            for part in head.modules():
                if isinstance(part, GroupedBatchNorm):
                    part.group = UNGROUPED
        device = next(self.cmac.query.parameters()).device
        other.cmac.query.saliency = nn.ModuleDict(fresh).train().to(device)
        return other


def _rows(side: Side, which: Sequence[int]) -> Side:
    """A side with its clips in another order."""
    rows = list(which)
    embedding = None if side.embedding is None else side.embedding[rows]
    saliency = None if side.saliency is None else side.saliency[rows]
    return Side(side.filtered[rows], side.kernel[rows], embedding, saliency)


def _by_clip(maps: Maps, centers: Mapping[Modality, tuple[Array, ...]]) -> list[dict[Key, Map]]:
    named: dict[Key, Tensor | None] = {("video", "s"): maps.s_v, ("video", "s_hat"): maps.s_hat_v}
    named |= {("audio", "s"): maps.s_a, ("audio", "s_hat"): maps.s_hat_a}
    there = {key: batch.float().cpu().numpy() for key, batch in named.items() if batch is not None}
    return [{key: Map(batch[i], centers[key[0]]) for key, batch in there.items()} for i in range(len(maps.s_v))]


def correlation(one: Cells, other: Cells) -> float:
    """Pearson's; 0 where either is flat."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
