"""Localisation on the generated corpus: each map's scores beside those of its controls (RULINGS 10)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from cmac_core.data.manifest import Truth
from cmac_core.evaluation.attention_maps import Attended, mel_hz
from cmac_core.evaluation.localization import (
    Array,
    Map,
    Score,
    SoundTarget,
    box_mask,
    chance_overlap,
    middles,
    score_sound,
    score_video,
    sound_target,
    visible,
)
from cmac_core.evaluation.values import share
from cmac_core.events import Value
from cmac_core.specs import AudioFrontEnd

SCORED_FRAMES = 8  # of a window, spread evenly: neighbors look alike
Name = tuple[str, Literal["video", "audio"]]


@dataclass
class Tally:
    """Scores of many clips by name and modality, each with what chance would score."""

    found: dict[Name, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, modality: Literal["video", "audio"], score: float, chance: float) -> None:
        """One clip's score."""
        self.found[name, modality].append((score, chance))

    def values(self, random: "Tally") -> list[Value]:
        """Means over clips, beside those of `random` where it has them."""
        return [self._value(name, random) for name in sorted(self.found)]

    def _value(self, name: Name, random: "Tally") -> Value:
        scores = np.array(self.found[name])
        beside = np.array(random.found[name]) if name in random.found else None
        return share(
            name[0],
            float(scores[:, 0].mean()),
            len(scores),
            chance=float(scores[:, 1].mean()),
            random_init=None if beside is None else float(beside[:, 0].mean()),
            modality=name[1],
            split=None,
        )


@dataclass(frozen=True)
class VideoTargets:
    """Masks for the scored frames of a window."""

    sounding: list[Array]
    silent_moving: list[Array]
    silent_resting: list[Array]


def sounds(truth: Truth, t0: float, seconds: float) -> bool:
    """Whether the object sounds at all in the window: otherwise there is nothing to point at."""
    return any(start < t0 + seconds and end > t0 for start, end in truth.intervals_s)


def video_targets(attended: Attended, truth: Truth, crop: int, frames: int) -> VideoTargets:
    """Boxes at the window's frames, as the center crop shows them."""
    clip = attended.clip
    view = visible(clip.width, clip.height, crop)
    times = attended.t0 + attended.seconds * np.arange(frames) / frames
    at = np.clip(np.round((times - clip.video_start_s) * clip.fps).astype(int), 0, len(truth.sounding) - 1)
    sounding = [box_mask(truth.sounding[i], view) for i in at]

    def silent(moves: bool) -> list[Array]:
        boxes = [track for track, moving in zip(truth.silent, truth.silent_moves, strict=True) if moving == moves]
        masks = [sum((box_mask(track[i], view) for track in boxes), np.zeros_like(sounding[0])) for i in at]
        # Where both are, a hit is the sounding one's.
        return [np.minimum(mask, 1) * (1 - own) for mask, own in zip(masks, sounding, strict=True)]

    return VideoTargets(sounding, silent(moves=True), silent(moves=False))


def add_video(tally: Tally, name: str, given: Map, targets: VideoTargets) -> Score | None:
    """Pointing and IoU at the sounding object, hits on the silent ones."""
    score = score_video(given, targets.sounding)
    if score is not None and score.overlap is not None:
        tally.add(f"pointing_{name}", "video", score.pointing, score.chance)
        tally.add(f"iou_{name}", "video", score.overlap, chance_overlap(score.area))
    for kind, masks in (("moving", targets.silent_moving), ("resting", targets.silent_resting)):
        if (hit := score_video(given, masks)) is not None:
            tally.add(f"on_silent_{kind}_{name}", "video", hit.pointing, hit.chance)
    return score


def audio_target(attended: Attended, truth: Truth, front_end: AudioFrontEnd, rows: int, frames: int) -> SoundTarget:
    """Where in a spectrogram of `frames` columns the object sounds. `rows`: the map's cells in frequency."""
    times = attended.t0 + front_end.win / 2 + front_end.hop * np.arange(frames, dtype=np.float64)
    centers = mel_hz(np.arange(front_end.n_mels, dtype=np.float64), front_end)
    return sound_target(truth.band_hz, truth.intervals_s, centers, times, rows)


def add_audio(tally: Tally, name: str, given: Map, target: SoundTarget) -> Score | None:
    """Pointing in band and time, in band alone, and IoU."""
    scores = score_sound(given, target)
    if scores is None:
        return None
    both, alone = scores
    assert both.overlap is not None
    tally.add(f"pointing_{name}", "audio", both.pointing, both.chance)
    tally.add(f"pointing_frequency_{name}", "audio", alone.pointing, alone.chance)
    tally.add(f"iou_{name}", "audio", both.overlap, chance_overlap(both.area))
    return both


def motion_map(frames: torch.Tensor, shape: Sequence[int]) -> Map:
    """Mean absolute change between neighboring frames (3, T, H, W), as means over as many cells (T', H', W')."""
    change = frames.diff(dim=1).abs().mean(0) if frames.shape[1] > 1 else torch.zeros_like(frames[0])
    return _on_cells(change[None], shape)


def energy_map(spectrogram: torch.Tensor, shape: Sequence[int]) -> Map:
    """Mean log energy (F, T) as means over as many cells (F', T')."""
    return _on_cells(spectrogram[None], shape)


def _on_cells(values: torch.Tensor, shape: Sequence[int]) -> Map:
    pool: Callable[..., torch.Tensor] = F.adaptive_avg_pool3d if len(shape) == 3 else F.adaptive_avg_pool2d
    cells = pool(values.float(), tuple(shape))[0].cpu().numpy()
    return Map(cells, tuple(middles(count) for count in shape))


def strangers(classes: Sequence[str]) -> list[int]:
    """For each clip of a batch the next one of another class (the next one, where all are of one class)."""
    count = len(classes)

    def partner(i: int) -> int:
        others: Iterable[int] = ((i + step) % count for step in range(1, count))
        return next((j for j in others if classes[j] != classes[i]), (i + 1) % count)

    return [partner(i) for i in range(count)]
