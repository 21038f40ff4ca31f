"""Ways to make the networks for `benchmarks.gpu`: what the project does, parts of it, and torchvision's video network.

All have the same geometry and train the same method.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cmac_core.models.encoders import channels_last
from cmac_core.models.fused import FoldedStem, PaddedSpatialConv, PaddedTemporalConv, fuse
from cmac_core.models.r2plus1d import SpatialConv, TemporalConv
from cmac_core.objectives.cmac import Cmac

Change = Callable[[Cmac], None]


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


def unpadded(objective: Cmac) -> None:
    """Fused norms, and convolutions as the library has them."""
    fuse(objective)
    _take(objective, PaddedSpatialConv, SpatialConv)
    _take(objective, PaddedTemporalConv, TemporalConv)


def unfolded(objective: Cmac) -> None:
    """Fused norms and padded channels, and a stem of 7 x 7."""
    fuse(objective)
    _take(objective, FoldedStem, PaddedSpatialConv)


def _take(objective: Cmac, kind: type[nn.Module], other: type[nn.Module]) -> None:
    for part in objective.modules():
        if isinstance(part, kind):
            part.__class__ = other


def plain(memory: torch.memory_format, compiled: bool = False) -> Change:
    """torchvision's network in the place of both video networks, in this memory; through torch.compile if asked."""

    def change(objective: Cmac) -> None:
        query, key = Plain(memory), Plain(memory)
        key.load_state_dict(query.state_dict())
        if compiled:
            query.compile(dynamic=False)
            key.compile(dynamic=False)
        assert objective.key is not None
        objective.query.encoders["video"] = query
        objective.key.encoders["video"] = key.requires_grad_(False)

    return change


VARIANTS: dict[str, Change] = {
    "ours": fuse,
    "ours, stem of 7 x 7": unfolded,
    "ours, fused norms alone": unpadded,
    "ours, as on a CPU": lambda _: None,
    "plain, NCDHW": plain(torch.contiguous_format),
    "plain, channels last": plain(torch.channels_last_3d),
    "plain, channels last, compiled": plain(torch.channels_last_3d, compiled=True),
}
