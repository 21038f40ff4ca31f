"""Optimisers in one kernel that can also skip a step."""

from collections.abc import Sequence
from typing import Any

import torch

from cmac_core.objectives.cmac import Cmac
from cmac_core.specs.jobs import Pretrain

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


def optimizer_of(spec: Pretrain, objective: Cmac) -> torch.optim.Optimizer:
    """What the spec asks for, on the query model."""
    optim = spec.optim
    trained = [parameter for parameter in objective.query.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    if optim.wd_exclude_norm:
        flat = [parameter for parameter in trained if parameter.dim() == 1]
        groups = [
            {"params": [parameter for parameter in trained if parameter.dim() != 1]},
            {"params": flat, "weight_decay": 0.0},
        ]
    if optim.algorithm == "adamw":
        return adamw(groups, lr=optim.lr, weight_decay=optim.weight_decay)
    return sgd(groups, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
