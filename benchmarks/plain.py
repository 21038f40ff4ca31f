"""CMAC's step in plain torch, to be compared with: Conv3d in NCDHW, batch norm over the batch, and MoCo's loop.

As one would write it first, after MoCo's own code; it trains the same thing (one rank, one group of batch norm, L_cl).
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.video import r2plus1d_18

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.branch import Branch
from cmac_core.objectives.cmac import Cmac
from cmac_core.objectives.queue import KeyQueue
from cmac_core.specs.jobs import Pretrain

LAYERS = ("layer1", "layer2", "layer3", "layer4")


class Video(nn.Module):
    """torchvision's R(2+1)D-18 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = r2plus1d_18()
        self.net.fc = nn.Identity()

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, T, H, W) to the map after the last block."""
        x: Tensor = self.net.stem(frames)
        for name in LAYERS:
            x = getattr(self.net, name)(x)
        return x


class Audio(nn.Module):
    """torchvision's ResNet of four BasicBlocks on one channel, without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNet(BasicBlock, [1, 1, 1, 1])
        self.net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.net.fc = nn.Identity()

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel pictures (B, 1, F, T) to the map after the last block."""
        net = self.net
        x: Tensor = net.maxpool(net.relu(net.bn1(net.conv1(mel))))
        for name in LAYERS:
            x = getattr(net, name)(x)
        return x


def torchvisions(branch: Branch) -> nn.ModuleDict:
    """torchvision's encoders with a branch's weights; the paper's width alone."""
    video, audio = Video(), Audio()
    video.net.load_state_dict(branch.encoders["video"].state_dict())
    audio.net.load_state_dict(branch.encoders["audio"].state_dict())
    return nn.ModuleDict({"video": video, "audio": audio})


def unfolded(module: nn.Module) -> nn.Module:
    """A copy of any part of ours that runs Conv3d and batch norm as torch has them, in contiguous memory."""
    found = copy.deepcopy(module)
    for name, part in list(found.named_modules()):
        parent, _, own = name.rpartition(".")
        if isinstance(part, nn.Conv3d):
            of = cast(Any, part)
            plain: nn.Module = nn.Conv3d(
                of.in_channels, of.out_channels, of.kernel_size, of.stride, of.padding, bias=False
            )
        elif isinstance(part, GroupedBatchNorm):
            plain = _Norm(len(part.weight))
        else:
            continue
        plain.load_state_dict(part.state_dict())
        setattr(found.get_submodule(parent), own, plain)
    return found


class _Norm(nn.modules.batchnorm._BatchNorm):
    """nn.BatchNorm for maps of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.dim() >= 2


class PlainLoop:
    """Query and key model, queues, SGD: one `step` after another."""

    def __init__(self, ours: Cmac, spec: Pretrain, encoders: nn.Module) -> None:
        """With the weights and the queues of `ours` and other encoders of the same weights."""
        head = copy.deepcopy(ours.query.heads["shared"])
        filters = unfolded(ours.query.filters)
        self.query = nn.ModuleDict({"encoders": encoders, "filters": filters, "head": head}).train()
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        assert ours.contrast is not None
        queues = cast(Mapping[str, KeyQueue], ours.contrast.queues)
        self.queues = {name: queue.keys.T.clone() for name, queue in queues.items()}  # (D, K)
        self.m, self.tau = spec.moco.m, spec.contrastive.tau
        optim = spec.optim
        self.optimizer = torch.optim.SGD(
            self.query.parameters(),
            lr=optim.lr,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
            foreach=False,
            fused=False,
        )

    def step(self, frames: Tensor, mel: Tensor) -> Tensor:
        """The loss of a batch, before the weights move."""
        self._momentum_update()
        clips = {"video": frames, "audio": mel}
        with torch.no_grad():
            keys = {name: embed(self.key, name, rows) for name, rows in clips.items()}
        queries = {name: embed(self.query, name, rows) for name, rows in clips.items()}
        loss = self._contrast(queries["video"], keys["audio"], "audio", "video")
        loss = loss + self._contrast(queries["audio"], keys["video"], "video", "audio")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        for name, rows in keys.items():
            self.queues[name] = torch.cat([self.queues[name][:, len(rows) :], rows.T], dim=1)
        return loss.detach()

    @torch.no_grad()
    def _momentum_update(self) -> None:
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.data = key.data * self.m + query.data * (1.0 - self.m)

    def _contrast(self, queries: Tensor, keys: Tensor, other: str, own: str) -> Tensor:
        positive = torch.einsum("nc,nc->n", [queries, keys]).unsqueeze(-1)
        negative = [torch.einsum("nc,ck->nk", [queries, self.queues[name].clone().detach()]) for name in (other, own)]
        logits = torch.cat([positive, *negative], dim=1) / self.tau
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def embed(model: nn.ModuleDict, modality: str, clips: Tensor) -> Tensor:
    """Unit vectors (B, D) of clips."""
    encoders, filters = model["encoders"], model["filters"]
    assert isinstance(encoders, nn.ModuleDict)
    assert isinstance(filters, nn.ModuleDict)
    kernel = filters[modality](encoders[modality](clips)).flatten(2).mean(2)
    return F.normalize(model["head"](kernel), dim=1)
