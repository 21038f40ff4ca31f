"""Ways to make the video network for `benchmarks.gpu`: what the project does, plain torch, and what might be faster.

All have the same geometry and train the same method. A variant whose weights are of other shapes (padded) is
for timing alone.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.encoders import channels_last, initialised
from cmac_core.models.fused_norm import fuse_norms
from cmac_core.models.r2plus1d import R2Plus1D18, SpatialConv, TemporalConv, VideoBlock
from cmac_core.objectives.cmac import Cmac

Change = Callable[[nn.Module], nn.Module]


class Plain(nn.Module):
    """torchvision's R(2+1)D-18 without its classifier, as it comes: Conv3d, BN over the batch. Width 64 alone."""

    def __init__(self, memory: torch.memory_format = torch.contiguous_format) -> None:
        super().__init__()
        from torchvision.models.video import r2plus1d_18

        self.net = r2plus1d_18()
        self.net.fc = nn.Identity()
        self.memory = memory
        if memory is torch.channels_last_3d:
            channels_last(self.net)

    def forward(self, frames: Tensor) -> Tensor:
        """As `R2Plus1D18.forward`."""
        x: Tensor = self.net.stem(frames.contiguous(memory_format=self.memory))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(self.net, name)(x)
        return x


def padded(encoder: nn.Module) -> nn.Module:
    """A network whose middle channels are multiples of 8 (45 to 48, 230 to 232, 460 to 464, 921 to 928)."""
    assert isinstance(encoder, R2Plus1D18)
    group = cast(GroupedBatchNorm, encoder.stem[1]).group
    encoder.stem = _stem(encoder, group)
    for block in [part for part in encoder.modules() if isinstance(part, VideoBlock)]:
        for factored in (block.conv1[0], block.conv2[0]):
            _pad(factored, group)
    return initialised(encoder)


def _stem(encoder: R2Plus1D18, group: int | None) -> nn.Sequential:
    first, last = cast(SpatialConv, encoder.stem[0]), cast(TemporalConv, encoder.stem[3])
    middle, width = _multiple(first.out_channels), last.out_channels
    return nn.Sequential(
        SpatialConv(3, middle, 7, 2),
        GroupedBatchNorm(middle, group),
        nn.ReLU(inplace=True),
        TemporalConv(middle, width),
        GroupedBatchNorm(width, group),
        nn.ReLU(inplace=True),
    )


def _pad(factored: nn.Module, group: int | None) -> None:
    assert isinstance(factored, nn.Sequential)
    spatial, temporal = factored[0], factored[3]
    assert isinstance(spatial, SpatialConv)
    assert isinstance(temporal, TemporalConv)
    middle = _multiple(spatial.out_channels)
    factored[0] = SpatialConv(spatial.in_channels, middle, 3, spatial.stride[1])
    factored[1] = GroupedBatchNorm(middle, group)
    factored[3] = TemporalConv(middle, temporal.out_channels, temporal.stride[0])


def _multiple(channels: int) -> int:
    return -(-channels // 8) * 8


def fused(encoder: nn.Module) -> nn.Module:
    """Batch norm of all groups and the ReLU behind it as one compiled expression."""
    fuse_norms(encoder)
    return encoder


def compiled(module: nn.Module) -> nn.Module:
    """The whole network through torch.compile."""
    module.compile(dynamic=False)
    return module


# By name; None trains what the project has.
VARIANTS: dict[str, Change | None] = {
    "ours": None,
    "plain, NCDHW": lambda _: Plain(),
    "plain, channels last": lambda _: Plain(torch.channels_last_3d),
    "padded": padded,
    "fused norm": fused,
    "padded, fused norm": lambda encoder: fused(padded(encoder)),
    "padded, compiled": lambda encoder: compiled(padded(encoder)),
}


def changed(objective: Cmac, change: Change | None) -> Cmac:
    """`objective` with both its video networks changed; the key's weights follow the query's as before."""
    if change is not None:
        query = change(objective.query.encoders["video"])
        objective.query.encoders["video"] = query
        assert objective.key is not None
        key = change(objective.key.encoders["video"])
        key.load_state_dict(query.state_dict())
        objective.key.encoders["video"] = key.requires_grad_(False)
    return objective
