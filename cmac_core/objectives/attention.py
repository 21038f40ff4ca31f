"""Guidance of one modality by the other (Eq. 4), and the prediction that has to match it (Eq. 6)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from cmac_core.models.branch import Branch, Side
from cmac_core.objectives.center import Center
from cmac_core.objectives.correlation import guidance
from cmac_core.specs.method import CorrelationFiltering


class Guidance(NamedTuple):
    """s of both modalities, (B, cells) fp32, without gradient (A7)."""

    video: Tensor
    audio: Tensor


class Guide(nn.Module):
    """Makes s from what the query model says of both modalities (A8)."""

    def __init__(self, pcf: CorrelationFiltering, dim: int) -> None:
        super().__init__()
        self.pcf = pcf
        self.centers = nn.ModuleDict()
        if pcf.center != "none":
            self.centers.update({name: Center(pcf.center, dim) for name in ("video", "audio")})

    @torch.no_grad()
    def forward(self, video: Side, audio: Side, heads: Branch) -> Guidance:
        """Each modality's positions filtered by the other one's kernel; `heads` project both where the spec says so."""
        kernels = {"video": video.kernel, "audio": audio.kernel}
        positions = {"video": video.filtered.float(), "audio": audio.filtered.float()}
        if self.pcf.space == "projected":
            kernels = {
                "video": heads.project("video", video.kernel),
                "audio": heads.project("audio", audio.kernel),
            }
            positions = {
                "video": heads.project("video", positions["video"].movedim(1, -1)).movedim(-1, 1),
                "audio": heads.project("audio", positions["audio"].movedim(1, -1)).movedim(-1, 1),
            }
        for name, center in self.centers.items():
            mean = center(kernels[name])
            kernels[name] = kernels[name] - mean
            positions[name] = positions[name] - mean.view(-1, *[1] * (positions[name].dim() - 2))
        norm, scales = self.pcf.norm, self.pcf.scales
        return Guidance(
            guidance(kernels["audio"], positions["video"], norm, scales),
            guidance(kernels["video"], positions["audio"], norm, scales),
        )


def attention_consistency(guided: Tensor, prediction: Tensor, reduction: Literal["sum", "mean"]) -> Tensor:
    """Eq. 6: squared difference of s and ŝ (B, cells), sum or mean over cells (A9), mean over clips."""
    squares = (guided.detach() - prediction).square().flatten(1)
    return (squares.sum(1) if reduction == "sum" else squares.mean(1)).mean()
