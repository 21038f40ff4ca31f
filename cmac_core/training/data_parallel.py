"""The trained part on several ranks: gradients are averaged, batch norm's buffers stay each rank's own."""

import inspect
import warnings
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cmac_core.distributed import world_size

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def data_parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """`module` as DistributedDataParallel; itself where there is one rank."""
    if world_size() == 1:
        return module
    # Gradients of convolutions come in another layout than on one rank; each is copied into its bucket.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(
        module,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        static_graph=True,
        **_buffers_apart(),
    )


def _buffers_apart() -> dict[str, Any]:
    """torch 2.13 gave the switch another name."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


def in_channels_last(module: ModuleT) -> ModuleT:
    """On a GPU the weights of convolutions lie as the frames do. On a CPU that looked slower, in runs under load."""
    for parameter in module.parameters():
        if parameter.is_cuda and parameter.dim() in (4, 5):
            layout = torch.channels_last if parameter.dim() == 4 else torch.channels_last_3d
            parameter.data = parameter.data.to(memory_format=layout)
    return module
