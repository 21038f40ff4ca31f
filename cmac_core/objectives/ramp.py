"""Lambda of Eq. 8: constant, or grown by passes over the data or by the fall of L_cl; it may be held to a share."""

import torch
from torch import Tensor, nn

from cmac_core.distributed import mean_over_ranks
from cmac_core.specs.method import LambdaRamp

MOMENTUM = 0.95  # of the running L_cl, which is noisy from step to step
TINY = 1e-12


class Lambda(nn.Module):
    """The weight of the attention terms. `chance` is L_cl, both directions, of a model that knows nothing."""

    contrast: Tensor

    def __init__(self, peak: float, ramp: LambdaRamp | None, chance: float, share: float | None = None) -> None:
        """`share` is the most that lambda * L_ac may be of L_cl."""
        super().__init__()
        self.peak, self.ramp, self.chance, self.share = peak, ramp, chance, share
        if ramp is not None and ramp.by == "contrast":
            self.register_buffer("contrast", torch.tensor(chance))

    def forward(self, train_epoch: float, contrast: Tensor, attention: Tensor) -> Tensor:
        """The weight now, a scalar without gradient. L_cl and L_ac are those of this rank and this step."""
        weight = self._ramped(train_epoch, contrast)
        if self.share is None:
            return weight
        contrast, attention = mean_over_ranks(torch.stack([contrast, attention])).unbind()
        return torch.minimum(weight, self.share * contrast / attention.clamp_min(TINY))

    def _ramped(self, train_epoch: float, contrast: Tensor) -> Tensor:
        if self.ramp is None:
            return torch.full_like(contrast, self.peak, requires_grad=False)
        if self.ramp.by == "train_epoch":
            done = torch.full_like(contrast, train_epoch, requires_grad=False)
        else:
            now = mean_over_ranks(contrast)
            now = torch.where(now.isfinite(), now, self.contrast)
            done = 1 - self.contrast.lerp_(now, 1 - MOMENTUM) / self.chance
        start, end = self.ramp.start, self.ramp.end
        return self.peak * ((done - start) / (end - start)).clamp(0, 1)
