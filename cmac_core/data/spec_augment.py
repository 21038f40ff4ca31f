"""SpecAugment with a correct time warp: drawn clip by clip on the CPU, applied by batch on the device (METHOD 2.3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmac_core.data.draws import Purpose, generator
from cmac_core.specs.clips import SpecAugment


class Masks(NamedTuple):
    """What happens to one picture: the frame at `center` moves by `shift`; then (start, width) are filled."""

    center: float
    shift: float  # 0: no warp
    bands: tuple[tuple[int, int], ...]
    times: tuple[tuple[int, int], ...]


UNTOUCHED = Masks(0.0, 0.0, (), ())


def draw_masks(
    spec: SpecAugment, shape: tuple[int, int], seed: int, train_epoch: int, index: int, take: int = 0
) -> Masks:
    """Draw for one picture of `shape` = (bands, frames). Too short for the warp (under 2 W + 2 frames): none."""
    bands, frames = shape
    draw = generator(seed, train_epoch, index, Purpose.masks, take)
    center, shift = draw.uniform(spec.W, max(spec.W, frames - 1 - spec.W)), draw.uniform(-spec.W, spec.W)
    if spec.W == 0 or frames < 2 * spec.W + 2:
        center, shift = 0.0, 0.0
    return Masks(
        center,
        shift,
        tuple(_stripe(draw, spec.F, bands) for _ in range(spec.n_freq)),
        tuple(_stripe(draw, spec.T, frames) for _ in range(spec.n_time)),
    )


def _stripe(draw: np.random.Generator, limit: int, size: int) -> tuple[int, int]:
    """Width floor(U(0, limit)), start uniform over where it fits."""
    width = min(int(draw.uniform(0, limit)), size)
    return int(draw.integers(0, size - width, endpoint=True)), width


def augment(mel: Tensor, masks: Sequence[Masks]) -> Tensor:
    """Warp, mask bands, mask frames of normalised pictures (B, 1, F, T); filled with 0, which is the mean."""
    bands, frames = mel.shape[2:]
    warped = _warp(mel, np.stack([source_frames(mask, frames) for mask in masks]))
    hidden_bands = _covered([mask.bands for mask in masks], bands)[:, None, :, None]
    hidden_frames = _covered([mask.times for mask in masks], frames)[:, None, None, :]
    return warped.masked_fill(hidden_bands.to(mel.device), 0).masked_fill(hidden_frames.to(mel.device), 0)


def source_frames(mask: Masks, frames: int) -> np.ndarray:
    """Where each output frame reads: two straight pieces, 0 to 0, center + shift to center, the end to the end."""
    times = np.arange(frames, dtype=np.float64)
    if mask.shift == 0:
        return times
    last, landing = frames - 1.0, mask.center + mask.shift
    before = times * (mask.center / landing) if landing > 0 else times
    after = mask.center + (times - landing) * ((last - mask.center) / (last - landing)) if landing < last else times
    sources: np.ndarray = np.clip(np.where(times <= landing, before, after), 0.0, last)
    sources[-1] = last  # to the bit
    return sources


def _warp(mel: Tensor, sources: np.ndarray) -> Tensor:
    """Read (B, 1, F, T) at fractional frames (B, T): linear in time, the same for all bands."""
    left = np.minimum(np.floor(sources), mel.shape[3] - 2).clip(0)
    part = torch.from_numpy((sources - left).astype(np.float32)).to(mel.device)[:, None, None, :]
    first = torch.from_numpy(left.astype(np.int64)).to(mel.device)[:, None, None, :].expand_as(mel)
    second = (first + 1).clamp_max(mel.shape[3] - 1)
    return mel.gather(3, first) * (1 - part) + mel.gather(3, second) * part


def _covered(stripes: Sequence[Sequence[tuple[int, int]]], size: int) -> Tensor:
    """Which of `size` positions lie in a stripe, (B, size)."""
    covered = np.zeros((len(stripes), size), dtype=bool)
    for row, own in zip(covered, stripes, strict=True):
        for start, width in own:
            row[start : start + width] = True
    return torch.from_numpy(covered)
