"""Networks for evaluation alone: batch norm's scale and shift are put into the convolution before it."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@torch.no_grad()
def without_norms(encoder: ModuleT) -> ModuleT:
    """A frozen copy of an encoder in eval mode, with running statistics folded into its convolutions.

    Never for a key model: its norms see batch statistics, which folding would leave out.
    """
    assert not encoder.training
    found = copy.deepcopy(encoder).requires_grad_(False)
    before: nn.Conv2d | nn.Conv3d | None = None
    # Every norm is registered right behind the convolution that it follows.
    for name, part in list(found.named_modules()):
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            before = part
        elif isinstance(part, GroupedBatchNorm):
            assert before is not None
            _fold(before, part)
            parent, _, own = name.rpartition(".")
            setattr(found.get_submodule(parent), own, nn.Identity())
            before = None
    return found


def _fold(convolution: nn.Conv2d | nn.Conv3d, norm: GroupedBatchNorm) -> None:
    assert convolution.out_channels == len(norm.weight)
    assert convolution.bias is None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shape = [-1, *[1] * (convolution.weight.dim() - 1)]
    convolution.weight.mul_(scale.view(shape))
    shift: Tensor = norm.bias - norm.running_mean * scale
    convolution.bias = nn.Parameter(shift, requires_grad=False)
