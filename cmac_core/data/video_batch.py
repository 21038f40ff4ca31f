"""Clips of one size seen together: what `video_view.see` does to each, in a few calls and without waiting for a GPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmac_core.data.video_view import GREY, Channels, Jitter, View, by_channel, place


def see_together(clips: Tensor, views: Sequence[View], crop: int, mean: Channels, std: Channels) -> Tensor:
    """Clips (B, T, H, W, 3) uint8 to (B, T, crop, crop, 3) fp32."""
    count, frames, height, width, _ = clips.shape
    places = [place(view, height, width, crop) for view in views]
    tall, top, wide, left = torch.tensor(places, dtype=torch.float64).to(clips.device, non_blocking=True).unbind(1)
    flip = torch.tensor([view.flip for view in views]).to(clips.device, non_blocking=True)
    rows, columns = _resize_matrices(height, tall, top, crop), _resize_matrices(width, wide, left, crop)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    with torch.autocast(clips.device.type, enabled=False):
        lines = clips.permute(0, 2, 1, 3, 4).float().flatten(2)  # (B, H, T W 3)
        seen = (rows / 255).bmm(lines).view(count, crop * frames, width, 3).transpose(2, 3)
        seen = seen.reshape(count, -1, width).bmm(columns.transpose(1, 2)).view(count, crop, frames, 3, crop)
        seen = seen.permute(0, 2, 1, 4, 3).clamp(0, 1)
        jitters = [view.jitter for view in views]
        if any(jitters):
            seen = _jittered(seen, jitters)
        return (seen - by_channel(mean, seen.device)) / by_channel(std, seen.device)


def _resize_matrices(size: int, resized: Tensor, start: Tensor, count: int) -> Tensor:
    """`video_view`'s matrix of each clip, over all its inputs: (B, count, size)."""
    scale = (size / resized)[:, None, None]
    reach = scale.clamp_min(1.0)
    centers = (start[:, None, None] + torch.arange(count, device=start.device)[:, None] + 0.5) * scale
    inputs = torch.arange(size, device=start.device) + 0.5
    weights = (1 - (inputs - centers).abs() / reach).clamp_min(0)
    return (weights / weights.sum(2, keepdim=True)).float()


def _jittered(clips: Tensor, jitters: Sequence[Jitter | None]) -> Tensor:
    """Each clip's changes in its own order: in each turn every kind changes all clips, by 1 those of another kind."""
    grey = torch.tensor(GREY, device=clips.device)
    for turn in range(max(len(jitter.order) for jitter in jitters if jitter is not None)):
        for kind in ("brightness", "contrast", "saturation"):
            factors = [_factor(jitter, turn, kind) for jitter in jitters]
            if factors == [1.0] * len(factors):
                continue
            by = torch.tensor(factors).to(clips.device, non_blocking=True)[:, None, None, None, None]
            if kind == "brightness":
                clips = clips * by
            elif kind == "contrast":
                clips = torch.lerp((clips @ grey).mean((1, 2, 3))[:, None, None, None, None], clips, by)
            else:
                clips = torch.lerp((clips @ grey)[..., None], clips, by)
            clips = clips.clamp(0, 1)
    return clips


def _factor(jitter: Jitter | None, turn: int, kind: str) -> float:
    """1 where a clip's `turn`-th change is none of this kind."""
    if jitter is None or turn >= len(jitter.order) or jitter.order[turn] != kind:
        return 1.0
    return float(getattr(jitter, kind))
