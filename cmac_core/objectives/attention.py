"""Guidance of one modality by the other (Eq. 4), and the prediction that has to match it (Eq. 6)."""

from contextlib import nullcontext
from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor, nn

from cmac_core.models.branch import Branch, Modality, Side
from cmac_core.objectives.center import Center
from cmac_core.objectives.correlation import guidance
from cmac_core.specs.method import CorrelationFiltering

Reduction = Literal["sum", "mean", "per_modality"]


class Guidance(NamedTuple):
    """s of both modalities, (B, cells) fp32; whether L_ac reaches what it was made of is the spec's choice (A7)."""

    video: Tensor
    audio: Tensor


class Guide(nn.Module):
    """Makes s from what a model says of both modalities: the query model, or the key model (A8)."""

    def __init__(self, pcf: CorrelationFiltering, dim: int) -> None:
        super().__init__()
        self.pcf = pcf
        self.centers = nn.ModuleDict()
        if pcf.center != "none":
            self.centers.update({name: Center(pcf.center, dim) for name in ("video", "audio")})

    def forward(self, video: Side, audio: Side, heads: Branch) -> Guidance:
        """Each modality's positions filtered by the other one's kernel; `heads` project both where the spec says so."""
        with torch.no_grad() if self.pcf.target_grad == "stop" else nullcontext():
            kernels: dict[Modality, Tensor] = {"video": video.kernel, "audio": audio.kernel}
            maps: dict[Modality, Tensor] = {"video": video.filtered.float(), "audio": audio.filtered.float()}
            if self.pcf.space == "projected":
                kernels = {name: heads.project(name, kernel) for name, kernel in kernels.items()}
                maps = {name: heads.project(name, rows.movedim(1, -1)).movedim(-1, 1) for name, rows in maps.items()}
            for name, kernel in kernels.items():
                if name in self.centers:
                    mean = self.centers[name](kernel)
                    kernels[name] = kernel - mean
                    maps[name] = maps[name] - mean.view(-1, *[1] * (maps[name].dim() - 2))
            return Guidance(
                self._guide(kernels["audio"], maps["audio"], maps["video"]),
                self._guide(kernels["video"], maps["video"], maps["audio"]),
            )

    def _guide(self, kernel: Tensor, source: Tensor, positions: Tensor) -> Tensor:
        """s at positions, by a kernel that is the mean of the map `source`."""
        pcf = self.pcf
        return guidance(
            kernel,
            positions.detach() if pcf.target_grad == "kappa" else positions,
            pcf.norm,
            pcf.scales,
            fuse=pcf.fuse,
            pool=pcf.pool,
            source=source if pcf.kappa_per_scale else None,
        )


def attention_consistency(guided: Tensor, prediction: Tensor, reduction: Reduction, cells: float) -> Tensor:
    """Eq. 6: squared difference of s and ŝ (B, cells) over cells (A9), mean over clips.

    `cells` is what `per_modality` takes the mean times: half the cells of both modalities' maps.
    """
    squares = (guided - prediction).square().flatten(1)
    match reduction:
        case "sum":
            return squares.sum(1).mean()
        case "mean":
            return squares.mean(1).mean()
        case "per_modality":
            return cells * squares.mean()
        case _:
            assert_never(reduction)
