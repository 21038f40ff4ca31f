"""Optimisers in one kernel that can also skip a step."""

from collections.abc import Sequence
from typing import Any

import torch

BETAS = (0.9, 0.99)  # a training of minutes has too few steps for the usual .999


def sgd(groups: Sequence[dict[str, Any]], *, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Of parameters in groups; a group with an `lr_mult` learns at that many times the schedule's rate."""
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    if momentum:
        # A first step that is skipped would leave the buffers as found in memory.
        for parameter in (one for group in optimizer.param_groups for one in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adamw(groups: Sequence[dict[str, Any]], *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Of parameters in groups, as `sgd`."""
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, weight_decay=weight_decay, fused=True)
