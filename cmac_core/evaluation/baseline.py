"""What needs no network: mean and standard deviation over time of log-mel bands, or of frames of 32 x 24 pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cmac_core.evaluation.features import Seen, View

SIZE = (24, 32)  # height, width
NAME = "simple"


def sound_statistics(seen: Seen) -> dict[str, Tensor]:
    """(B, 2 F): mean and spread of each mel band over the clip."""
    assert seen.shown.spectrogram is not None
    bands = seen.shown.spectrogram[:, 0]
    return {NAME: torch.cat([bands.mean(2), bands.std(2, correction=0)], 1)}


def picture_statistics(seen: Seen) -> dict[str, Tensor]:
    """(B, 2 · 3 · 24 · 32): mean and spread of each pixel over the clip, whole picture, RGB."""
    rows = []
    for window in seen.windows:
        assert window.frames is not None
        frames = torch.from_numpy(window.frames).permute(0, 3, 1, 2).float() / 255
        small = F.interpolate(frames, SIZE, mode="area").flatten(1)
        rows.append(torch.cat([small.mean(0), small.std(0, correction=0)]))
    return {NAME: torch.stack(rows)}


SOUND = View((NAME,), sound_statistics, {"simple": "sound"})
PICTURE = View((NAME,), picture_statistics, {"simple": "picture"})
