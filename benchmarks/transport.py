"""Clips on their way from a worker to the training: as they were decoded, against as floats."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.rounds import Comparison, compare

CLIPS, BATCHES, FRAMES, HEIGHT, WIDTH, SAMPLES = 8, 12, 30, 128, 170, 24_000


def transport(rounds: int) -> Comparison:
    """Batches of 8 clips by one worker each; nothing is decoded, so that the way alone counts.

    Ours is what the loader's workers hand over: one block of uint8 and one of int16 a batch. Plain is what data sets do
    that follow torchvision: floats between 0 and 1 with channels first, a tensor a clip, stacked by the loader.
    """
    ours, plain = _loader(AsDecoded(), batch_size=None), _loader(AsFloats(), batch_size=CLIPS)
    pixels, _ = next(iter(ours))
    assert pixels.dtype == torch.uint8
    assert next(iter(plain))[0].shape == (CLIPS, 3, FRAMES, HEIGHT, WIDTH)
    work = CLIPS * BATCHES
    return compare(
        "clips from a worker", lambda: _all(ours), lambda: _all(plain), work=work, unit="clips/s", rounds=rounds
    )


class AsDecoded(Dataset[Any]):
    """A batch an index."""

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.full((CLIPS * FRAMES * HEIGHT * WIDTH * 3,), batch, dtype=torch.uint8)
        return frames, torch.zeros(CLIPS, SAMPLES, dtype=torch.int16)


class AsFloats(Dataset[Any]):
    """A clip an index."""

    def __len__(self) -> int:
        return CLIPS * BATCHES

    def __getitem__(self, clip: int) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.full((FRAMES, HEIGHT, WIDTH, 3), clip // CLIPS, dtype=torch.uint8)
        return frames.permute(3, 0, 1, 2).float() / 255, torch.zeros(SAMPLES)


def _loader(dataset: Dataset[Any], batch_size: int | None) -> "DataLoader[Any]":
    """As the training's loader makes its own, but that the worker stays: its start is not the way."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=1,
        prefetch_factor=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )


def _all(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> int:
    return sum(len(pixels) for pixels, _ in batches)
