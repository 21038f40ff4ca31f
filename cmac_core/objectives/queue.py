"""A ring of keys of earlier batches, each with the video it came from (METHOD 5)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOBODY = -1  # the video of a key that is still random


class KeyQueue(nn.Module):
    """K unit vectors, as rows. Any batch up to K fits: writing wraps around."""

    keys: Tensor
    videos: Tensor

    def __init__(self, size: int, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("videos", torch.full((size,), NOBODY, dtype=torch.long))
        self.pointer = 0
        self.filled = 0  # rows that hold keys of clips

    @torch.no_grad()
    def enqueue(self, keys: Tensor, videos: Tensor) -> None:
        """Write keys (B, D) and their videos (B,) over the oldest rows. Non-finite keys leave the old ones."""
        size = len(self.keys)
        assert len(keys) <= size
        rows = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        finite = keys.isfinite().all(1)
        self.keys.index_copy_(0, rows, torch.where(finite[:, None], keys.float(), self.keys[rows]))
        self.videos.index_copy_(0, rows, torch.where(finite, videos, self.videos[rows]))
        self.pointer = (self.pointer + len(keys)) % size
        self.filled = min(self.filled + len(keys), size)

    def similarities(self, queries: Tensor) -> Tensor:
        """Cosines of unit queries (B, D) with all keys, (B, K)."""
        return queries @ self.keys.T

    def holds(self, videos: Tensor) -> Tensor:
        """Which keys come from the same video as each query, (B, K) bool."""
        return self.videos[None] == videos[:, None]

    def get_extra_state(self) -> dict[str, int]:
        """Where the ring stands: host numbers, so that no step waits for the device."""
        return {"pointer": self.pointer, "filled": self.filled}

    def set_extra_state(self, state: Any) -> None:
        self.pointer, self.filled = int(state["pointer"]), int(state["filled"])
