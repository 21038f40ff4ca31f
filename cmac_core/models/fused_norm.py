"""Batch norm of all groups, and the ReLU behind it, as one compiled expression, for GPUs.

The library normalises group by group and then puts the groups together again, which is most of a training step on a
GPU (docs/PERFORMANCE.md). Whether this one may be taken is decided by `disagreement` on the device itself.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.distributed import world_size
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.r2plus1d import R2Plus1D18

Expression = Callable[[Tensor, Tensor, Tensor, int, float, bool], tuple[Tensor, Tensor, Tensor]]

# Norms of differences over norms, of maps and of gradients. bf16 keeps 8 bits, so one rounding is 2^-9.
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (5e-3, 2e-2)}
_COMPILED: list[Expression] = []


class FusedNorm(GroupedBatchNorm):
    """`GroupedBatchNorm`, with the ReLU that follows it where `relu` is set."""

    relu = False

    def forward(self, x: Tensor) -> Tensor:
        """As `GroupedBatchNorm.forward`."""
        if not self.training or (self.group is None and world_size() > 1):
            y = super().forward(x)
            return F.relu_(y) if self.relu else y
        groups = max(len(x) // (self.group or len(x)), 1)
        assert len(x) % groups == 0, f"{len(x)} clips are no multiple of {self.group}"
        y, mean, variance = _expression(x.device)(x, self.weight, self.bias, groups, self.eps, self.relu)
        self._track(mean, variance)
        return y


def fuse_norms(module: nn.Module) -> None:
    """Let the video networks in `module` normalise by `FusedNorm`; the state dict stays as it is."""
    networks = [part for part in module.modules() if isinstance(part, R2Plus1D18)]
    for part in [part for network in networks for part in network.modules()]:
        if isinstance(part, GroupedBatchNorm):
            part.__class__ = FusedNorm  # parameters stay the ones that an optimizer has
        if isinstance(part, nn.Sequential):
            for at, (first, second) in enumerate(pairwise(list(part))):
                if isinstance(first, GroupedBatchNorm) and isinstance(second, nn.ReLU):
                    first.relu = True  # type: ignore[assignment]
                    part[at + 1] = nn.Identity()


def normalised(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, ...) in channels-last memory; also the means over groups of mean and unbiased variance, (C,) fp32."""
    rows = x.movedim(1, -1).reshape(groups, -1, x.shape[1])
    wide = rows.float()
    variance, mean = torch.var_mean(wide, 1, correction=0, keepdim=True)
    y = (wide - mean) * ((variance + eps).rsqrt() * weight) + bias
    y = (y.relu() if relu else y).to(x.dtype)
    count = rows.shape[1]
    y = y.reshape(x.movedim(1, -1).shape).movedim(-1, 1)
    return y, mean.detach().mean((0, 1)), variance.detach().mean((0, 1)) * count / (count - 1)


def disagreement(device: torch.device) -> str | None:
    """How this norm differs from the library's on the device, beyond TOLERANCE; None where it may be taken.

    Compared are map, running statistics and all gradients, with a ReLU and without, in fp32 and in bf16.
    """
    for dtype in TOLERANCE:
        for relu in (False, True):
            try:
                off = _differences(device, dtype, relu)
            except Exception as error:  # a compiler that is missing or fails, in any of its ways
                return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            for name, value in off.items():
                most = TOLERANCE[dtype][name.startswith("gradient")]
                if not value <= most:
                    return f"{name} is off by {value:.1e} in {dtype}, more than {most:g}"
    return None


def _differences(device: torch.device, dtype: torch.dtype, relu: bool) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    clips = torch.randn(8, 45, 3, 6, 5, generator=draw).add(0.5).to(device, dtype)
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    readout = torch.randn(clips.shape, generator=draw).to(device, dtype)
    weights = torch.rand(2, 45, generator=draw).to(device)

    def seen(norm: GroupedBatchNorm, after: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            norm.weight.copy_(weights[0] + 0.5)
            norm.bias.copy_(weights[1])
        x = clips.detach().requires_grad_()
        y = after(norm(x))
        of_x, of_weight, of_bias = torch.autograd.grad(y, (x, norm.weight, norm.bias), readout)
        maps = {"map": y.detach(), "running mean": norm.running_mean, "running variance": norm.running_var}
        return maps | {"gradient of x": of_x, "gradient of weight": of_weight, "gradient of bias": of_bias}

    own = FusedNorm(45, 4).to(device)
    own.relu = relu
    found = seen(own, lambda y: y)
    wanted = seen(GroupedBatchNorm(45, 4).to(device), lambda y: y.relu() if relu else y)
    pairs = {name: (found[name].float(), value.float()) for name, value in wanted.items()}
    return {name: float((mine - theirs).norm() / theirs.norm()) for name, (mine, theirs) in pairs.items()}


def _expression(device: torch.device) -> Expression:
    """Compiled on a GPU; on a CPU compiling would ask for a C++ compiler."""
    if device.type != "cuda":
        return normalised
    if not _COMPILED:
        torch._dynamo.config.cache_size_limit = 512  # a kernel for each shape and direction
        _COMPILED.append(torch.compile(normalised, dynamic=False))
    return _COMPILED[0]
