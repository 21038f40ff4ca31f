"""Batch norm of all groups at once, with what is added behind it and the ReLU, for GPUs.

The library normalises group by group and then puts the groups together again, which is most of a training step on a
GPU (docs/PERFORMANCE.md). Whether this one may be taken is decided by `disagreement` on the device itself.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from cmac_core.distributed import world_size
from cmac_core.models.batch_norm import GroupedBatchNorm, Running

Expression = Callable[[Tensor, Tensor, Tensor, Running, int, float, bool, Tensor | None], Tensor]

# Norms of differences over norms, of maps and of gradients. bf16 keeps 8 bits, so one rounding is 2^-9.
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (5e-3, 1e-2)}
WIDTH, PADDED = 45, 48  # the stem's, and with channels of nothing but zeros


class FusedNorm(GroupedBatchNorm):
    """`GroupedBatchNorm`, in train mode with the ReLU that follows it where `relu` is set.

    There it takes maps with more channels than it has, if the others are 0, and leaves these 0.
    """

    relu = False

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """As `GroupedBatchNorm.forward`; in train mode `add`, of the same shape, comes in front of the ReLU."""
        if not self.training:
            return super().forward(x)
        assert self.group is not None or world_size() == 1, "statistics of several ranks are the library's"
        groups = max(len(x) // (self.group or len(x)), 1)
        assert len(x) % groups == 0, f"{len(x)} clips are no multiple of {self.group}"
        self.num_batches_tracked += 1
        expression = _expression(x.device)
        return expression(x, self.weight, self.bias, self.running, groups, self.eps, self.relu, add)


def normalised(
    x: Tensor, weight: Tensor, bias: Tensor, running: Running, groups: int, eps: float, relu: bool, add: Tensor | None
) -> Tensor:
    """(B, C, ...) in channels-last memory; the moving averages go one step, by the means over groups."""
    rows = x.movedim(1, -1).reshape(groups, -1, x.shape[1])
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, 1, correction=0, keepdim=True)
    more = x.shape[1] - len(weight)
    scale = (variance + eps).rsqrt() * torch.nn.functional.pad(weight, (0, more))
    y = (wide - mean) * scale + torch.nn.functional.pad(bias, (0, more))
    y = y.reshape(x.movedim(1, -1).shape).movedim(-1, 1)
    y = y if add is None else y + add
    y = (y.relu() if relu else y).to(x.dtype)
    count, real = rows.shape[1], len(weight)
    running.follow(mean.mean((0, 1))[:real], variance.mean((0, 1))[:real] * count / (count - 1))
    return y


def disagreement(device: torch.device) -> str | None:
    """How this norm differs from the library's in fp32 on the device, beyond TOLERANCE; None where it may be taken.

    Compared are map, running statistics and all gradients, with a ReLU and without, with an addend and without, of
    maps with channels of zeros and without, in fp32 and in bf16.
    """
    for dtype in TOLERANCE:
        for relu, added, channels in ((False, False, WIDTH), (True, False, PADDED), (True, True, WIDTH)):
            try:
                off = _differences(device, dtype, relu, added, channels)
            except Exception as error:  # a compiler that is missing or fails, in any of its ways
                return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            for name, value in off.items():
                most = TOLERANCE[dtype][name.startswith("gradient")]
                if not value <= most:
                    return f"{name} is off by {value:.1e} in {dtype}, more than {most:g}"
    return None


def _differences(device: torch.device, dtype: torch.dtype, relu: bool, added: bool, channels: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)

    def drawn(shift: float) -> Tensor:
        clips = torch.randn(8, WIDTH, 3, 6, 5, generator=draw).add(shift).to(device, dtype)
        return clips.contiguous(memory_format=torch.channels_last_3d)

    clips, other, readout = drawn(0.5), drawn(0.0), drawn(0.0)
    weights = torch.rand(2, WIDTH, generator=draw).to(device)

    def seen(norm: GroupedBatchNorm, run: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            norm.weight.copy_(weights[0] + 0.5)
            norm.bias.copy_(weights[1])
        x, add = clips.detach().requires_grad_(), other.detach().requires_grad_()
        y = run(x, add)
        asked = {"x": x, "weight": norm.weight, "bias": norm.bias} | ({"addend": add} if added else {})
        gradients = torch.autograd.grad(y, list(asked.values()), readout)
        maps = {"map": y.detach(), "running mean": norm.running_mean, "running variance": norm.running_var}
        return maps | {f"gradient of {name}": found for name, found in zip(asked, gradients, strict=True)}

    own = FusedNorm(WIDTH, 4).to(device)
    own.relu = relu
    library = GroupedBatchNorm(WIDTH, 4).to(device)

    def fused(x: Tensor, add: Tensor) -> Tensor:
        more = torch.nn.functional.pad(x, (0, 0) * 3 + (0, channels - WIDTH))
        return own(more.contiguous(memory_format=torch.channels_last_3d), add if added else None)[:, :WIDTH]

    def apart(x: Tensor, add: Tensor) -> Tensor:
        # In fp32, of the same values: by 16 bits a ReLU would open in another place than the fused one's.
        y = library(x.float()) + add if added else library(x.float())
        return cast(Tensor, y.relu() if relu else y).to(dtype)

    found, wanted = seen(own, fused), seen(library, apart)
    pairs = {name: (found[name].float(), value.float()) for name, value in wanted.items()}
    return {name: float((mine - theirs).norm() / theirs.norm()) for name, (mine, theirs) in pairs.items()}


def _expression(device: torch.device) -> Expression:
    """Kernels on a GPU, whose compiler is asked for there alone; elsewhere the same in plain torch."""
    if device.type != "cuda":
        return normalised
    from cmac_core.models import norm_kernels

    return norm_kernels.normalised
