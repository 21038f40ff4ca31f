"""Mean and standard deviation of a dataset's log-mel pictures (METHOD 2.1)."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cmac_core.data.dataset import window_bounds
from cmac_core.data.manifest import Clip
from cmac_core.data.windows import read_window
from cmac_core.specs.clips import AudioFrontEnd

LIMIT = 2000
BATCH = 64
SECONDS = 1.0


def mel_statistics(
    folder: Path, clips: list[Clip], seed: int, told: Callable[[int, int], None] = lambda done, of: None
) -> tuple[float, float] | None:
    """Over one random second of each of up to 2,000 random clips that sound; None when none does.

    `told(done, of)` is called after each batch, and may raise to stop.
    """
    heard = [clip for clip in clips if clip.has_audio and not clip.silent]
    if not heard:
        return None
    import torch  # packing itself needs none

    from cmac_core.data.log_mel import LogMel

    front_end = AudioFrontEnd()
    mel = LogMel(front_end)
    random = np.random.Generator(np.random.Philox(seed))
    chosen = [heard[i] for i in random.permutation(len(heard))[:LIMIT]]
    total = squares = count = 0.0
    for first in range(0, len(chosen), BATCH):
        batch = np.stack(
            [_second(folder, clip, random, front_end.sample_rate) for clip in chosen[first : first + BATCH]]
        )
        pictures = mel(torch.from_numpy(batch)).double()
        total += float(pictures.sum())
        squares += float(pictures.square().sum())
        count += pictures.numel()
        told(min(first + BATCH, len(chosen)), len(chosen))
    mean = total / count
    return mean, math.sqrt(max(squares / count - mean * mean, 0.0))


def _second(folder: Path, clip: Clip, random: np.random.Generator, rate: int) -> np.ndarray:
    lo, hi = window_bounds(clip, SECONDS, video=False, audio=True)
    window = read_window(
        folder / clip.path,
        clip,
        float(random.uniform(lo, hi)),
        frames=1,
        fps=1 / SECONDS,
        sample_rate=rate,
        video=False,
    )
    assert window.sound is not None
    return window.sound
