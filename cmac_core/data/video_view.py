"""How a clip is seen: resized, cropped, flipped, its colors changed, normalised. One clip at a time (METHOD 4)."""

from typing import NamedTuple

import torch
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma of R, G, B
Channels = float | tuple[float, float, float]  # one number for all, or one each for R, G, B


class Jitter(NamedTuple):
    """Factors around 1 and the order in which they are applied."""

    order: tuple[str, ...]
    brightness: float
    contrast: float
    saturation: float


class View(NamedTuple):
    """How one clip is seen, the same in all its frames."""

    short_side: int  # pixels after the resize
    top: float  # place of the crop in what is left over, 0 to 1
    left: float
    flip: bool
    jitter: Jitter | None


def see(clip: Tensor, view: View, crop: int, mean: Channels, std: Channels) -> Tensor:
    """One clip (T, H, W, 3) uint8 to (T, crop, crop, 3) fp32.

    The antialiased bilinear resize is linear in rows and in columns. So crop and flip are a choice of rows of
    its two matrices, and only what the crop needs is computed.
    """
    _, height, width, _ = clip.shape
    tall, top, wide, left = place(view, height, width, crop)
    rows, rows_used = _resize_matrix(height, tall, top, crop)
    columns, columns_used = _resize_matrix(width, wide, left, crop)
    if view.flip:
        columns = columns.flip(0)
    with torch.autocast(clip.device.type, enabled=False):
        used = clip[:, rows_used, columns_used]
        seen = (rows / 255).to(clip.device) @ used.float().flatten(2)  # (T, crop, W * 3)
        # The colors go before the columns: one large product instead of many with three columns.
        seen = seen.unflatten(2, used.shape[2:]).transpose(2, 3)
        seen = (seen.reshape(-1, seen.shape[3]) @ columns.to(clip.device).T).view(*seen.shape[:3], crop)
        seen = seen.transpose(2, 3).clamp(0, 1)
        if view.jitter is not None:
            seen = _jitter(seen, view.jitter)
        return (seen - by_channel(mean, seen.device)) / by_channel(std, seen.device)


def place(view: View, height: int, width: int, crop: int) -> tuple[int, int, int, int]:
    """Height after the resize and the crop's first row; width, and its first column."""
    tall, wide = _resized(height, width, view.short_side)
    return tall, round(view.top * (tall - crop)), wide, round(view.left * (wide - crop))


def by_channel(value: Channels, device: torch.device) -> Tensor | float:
    return value if isinstance(value, float) else torch.tensor(value, device=device)


def _resized(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Size after the resize; the long side is rounded down, as torchvision does."""
    if height <= width:
        return short_side, short_side * width // height
    return short_side * height // width, short_side


def _resize_matrix(size: int, resized: int, start: int, count: int) -> tuple[Tensor, slice]:
    """Rows `start` to `start + count` of the resize from `size` to `resized` as a matrix, and the inputs it uses.

    A triangle as wide as two output pixels when shrinking (antialiased), as two input pixels when enlarging.
    """
    scale = size / resized
    reach = max(scale, 1.0)
    centers = (torch.arange(start, start + count, dtype=torch.float64) + 0.5) * scale
    first = max(int(float(centers[0]) - reach), 0)
    last = min(int(float(centers[-1]) + reach) + 1, size)
    inputs = torch.arange(first, last, dtype=torch.float64) + 0.5
    weights = (1 - (inputs - centers[:, None]).abs() / reach).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float(), slice(first, last)


def _jitter(clip: Tensor, jitter: Jitter) -> Tensor:
    """Brightness, contrast and saturation in the drawn order on RGB in [0, 1], (T, H, W, 3).

    Contrast turns about the mean of the whole clip, not of each frame, so that a flash stays a flash.
    """
    weights = torch.tensor(GREY, device=clip.device)
    for name in jitter.order:
        if name == "brightness":
            clip = clip * jitter.brightness
        elif name == "contrast":
            clip = torch.lerp((clip @ weights).mean(), clip, jitter.contrast)
        else:
            clip = torch.lerp((clip @ weights)[..., None], clip, jitter.saturation)
        clip = clip.clamp(0, 1)
    return clip
