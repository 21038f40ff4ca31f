"""Batch normalisation over fixed groups of clips, so that results do not depend on the number of ranks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.distributed import sum_over_ranks, world_size


class Running(NamedTuple):
    """Moving averages of mean and unbiased variance, (C,), and the share of the newest."""

    mean: Tensor
    variance: Tensor
    momentum: float

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor) -> None:
        """One step. A non-finite one, which the trainer skips, leaves no trace."""
        for running, now in ((self.mean, mean), (self.variance, variance)):
            running.lerp_(torch.where(now.isfinite(), now, running), self.momentum)


class GroupedBatchNorm(nn.Module):
    """Batch norm whose statistics are those of `group` clips in a row (METHOD 5, A20).

    One rank with 128 clips and eight ranks with 16 are then the same method. A batch no larger than a
    group is one group. Running statistics move once per step, by the mean over groups; with several ranks
    `distributed.sync_running_stats` makes them the mean over ranks too, which is exact because the moving
    average is linear. Without a `group` the statistics are those of all clips of all ranks. Names in the state
    dict are those of `nn.BatchNorm2d`.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, group: int | None, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.group, self.eps, self.momentum = group, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape. In train mode B is a multiple of the group, or smaller than it."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        if self.group is None and world_size() > 1:
            return self._over_ranks(x)
        group = self.group or len(x)
        assert len(x) <= group or len(x) % group == 0, f"{len(x)} clips are no multiple of {group}"
        means, variances, outputs = [], [], []
        rows = _rows(x)
        for clips in (rows,) if len(rows) <= group else rows.split(group):
            # With momentum 1 the library leaves the group's own statistics in these two.
            mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
            outputs.append(F.batch_norm(clips, mean, variance, self.weight, self.bias, True, 1.0, self.eps))
            means.append(mean)
            variances.append(variance)
        self._track(torch.stack(means).mean(0), torch.stack(variances).mean(0))
        whole = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        # Not a view of itself: the ReLU that follows works in place, and in a view that costs copies.
        return whole if rows is x else whole.view(x.shape)

    def _over_ranks(self, x: Tensor) -> Tensor:
        """As `forward` in train mode, with the statistics of equal shares on all ranks, in fp32."""
        wide = x.float()
        across = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        count = world_size() * x.numel() // x.shape[1]
        mean = sum_over_ranks(wide.sum(across)) / count
        off = wide - mean.view(shape)
        variance = sum_over_ranks(off.square().sum(across)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (off * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @property
    def running(self) -> Running:
        """Its moving averages."""
        return Running(self.running_mean, self.running_var, self.momentum)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.running.follow(mean, variance)
        self.num_batches_tracked += 1

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, group={self.group}"


def _rows(x: Tensor) -> Tensor:
    """A map with one cell along some side, (B, C, ...), as (B, C, 1, cells), a view, and its gradient too.

    On a CPU torch takes the memory of a folded map with one cell in time for another layout than it is, and gives
    gradients that are wrong, without a word (seen in 2.13). With the only 1 here its stride is never in doubt. Other
    maps stay as they are: for them it would only be slower.
    """
    return x.flatten(2).unsqueeze(2) if 1 in x.shape[2:] else x


def regroup(module: nn.Module, group: int) -> None:
    """Let batch norm in `module` share statistics over this many clips from now on; weights do not change."""
    for part in module.modules():
        if isinstance(part, GroupedBatchNorm):
            part.group = group
