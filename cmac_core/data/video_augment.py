"""Crop, flip, jitter and normalise frames on the device; the numbers are drawn clip by clip on the CPU (METHOD 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmac_core.data.draws import Purpose, generator
from cmac_core.data.video_batch import see_together
from cmac_core.data.video_view import Channels, Jitter, View, see
from cmac_core.specs.clips import ClipSampling, ColorJitter

TOGETHER = 32  # clips that a GPU has in hand at once: 400 MB of those of 30 frames of 160 x 214, as fp32


def draw_view(sampling: ClipSampling, seed: int, train_epoch: int, index: int, take: int = 0) -> View:
    """Draw for one clip: short side, place of the crop, flip, color jitter."""
    draw = generator(seed, train_epoch, index, Purpose.view, take)
    low, high = sampling.short_side
    short_side = int(draw.integers(low, high, endpoint=True))
    top, left, flip = draw.random(), draw.random(), bool(draw.random() < sampling.hflip)
    color = sampling.color_jitter
    amounts = (color.brightness, color.contrast, color.saturation)
    factors = [float(draw.uniform(1 - amount, 1 + amount)) for amount in amounts]
    order = tuple(str(name) for name in draw.permutation(["brightness", "contrast", "saturation"]))
    jittered = _jitters(color) and draw.random() < color.p
    return View(short_side, top, left, flip, Jitter(order, *factors) if jittered else None)


def _jitters(color: ColorJitter) -> bool:
    return color.on and max(color.brightness, color.contrast, color.saturation) > 0


def augment(frames: Sequence[Tensor] | Tensor, views: Sequence[View], sampling: ClipSampling) -> Tensor:
    """Clips of uint8 (T, H, W, 3), whose sizes may differ, to (B, 3, T, crop, crop) fp32, normalised.

    A tensor (B, T, H, W, 3) is a sequence of clips too. The result lies in channels-last memory.
    """
    return _seen(frames, views, sampling.crop, sampling.mean, sampling.std)


def center_view(
    frames: Sequence[Tensor] | Tensor, crop: int, mean: Channels = 0.45, std: Channels = 0.225, at: float = 0.5
) -> Tensor:
    """What evaluations show: short side resized to `crop`, centre crop, nothing random. Shapes as `augment`.

    `at` moves the crop along the long side: 0 and 1 are its ends.
    """
    return _seen(frames, [View(crop, at, at, False, None)] * len(frames), crop, mean, std)


def _seen(frames: Sequence[Tensor] | Tensor, views: Sequence[View], crop: int, mean: Channels, std: Channels) -> Tensor:
    """Clip by clip, which a CPU's caches like; on a GPU those of one size together, since there every call costs."""
    if frames[0].is_cuda:
        return _by_size(frames, views, crop, mean, std)
    return torch.stack([see(clip, view, crop, mean, std) for clip, view in zip(frames, views, strict=True)]).permute(
        0, 4, 1, 2, 3
    )


def _by_size(
    frames: Sequence[Tensor] | Tensor, views: Sequence[View], crop: int, mean: Channels, std: Channels
) -> Tensor:
    sizes: dict[torch.Size, list[int]] = {}
    for place, clip in enumerate(frames):
        sizes.setdefault(clip.shape, []).append(place)
    whole = frames[0].new_empty((len(frames), len(frames[0]), crop, crop, 3), dtype=torch.float32)
    for places in sizes.values():
        for first in range(0, len(places), TOGETHER):
            some = places[first : first + TOGETHER]
            clips = torch.stack([frames[place] for place in some])
            seen = see_together(clips, [views[place] for place in some], crop, mean, std)
            whole[torch.tensor(some, device=whole.device)] = seen
    return whole.permute(0, 4, 1, 2, 3)
