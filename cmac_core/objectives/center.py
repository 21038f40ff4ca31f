"""The mean that is taken out of filters and positions before they are compared (METHOD 13, `pcf.center`)."""

from typing import Literal

import torch
from torch import Tensor, nn

from cmac_core.distributed import mean_over_ranks

MOMENTUM = 0.9  # of the running mean: it follows the last ten steps or so


class Center(nn.Module):
    """One modality's mean filter over the global batch, whatever the ranks and BN groups.

    A filter is the mean of its positions, so this is the mean of the positions too. `batch` subtracts the
    step's own mean in training, `ema` a running one. Outside training both use the running mean, so that a
    map does not depend on the clips beside it; before any training, the mean of the clips at hand.
    """

    mean: Tensor
    steps: Tensor

    def __init__(self, mode: Literal["batch", "ema"], dim: int) -> None:
        super().__init__()
        self.mode = mode
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("steps", torch.tensor(0, dtype=torch.long))

    @torch.no_grad()
    def forward(self, kernels: Tensor) -> Tensor:
        """Filters (B, D) of this rank to what is to be subtracted, (D,). In training the running mean moves."""
        now = kernels.mean(0)
        if not self.training:
            return torch.where(self.steps > 0, self.mean, now)
        now = mean_over_ranks(now)
        moved = torch.where(self.steps > 0, torch.lerp(now, self.mean, MOMENTUM), now)
        finite = moved.isfinite().all()
        self.mean.copy_(torch.where(finite, moved, self.mean))
        self.steps += finite
        return now if self.mode == "batch" else self.mean.clone()
