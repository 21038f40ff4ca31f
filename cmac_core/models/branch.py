"""Encoders and what grows on them: filters g, projection heads, saliency heads h (METHOD 3.3, Eqs. 3 and 5)."""

from typing import Literal, NamedTuple, assert_never

import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.encoders import build_audio, build_video, initialised
from cmac_core.models.r2plus1d import PointwiseConv
from cmac_core.specs.method import Model

Modality = Literal["video", "audio"]
CONVOLUTION = {"video": nn.Conv3d, "audio": nn.Conv2d}
GDT_DROPOUT = 0.3  # drawn by each rank, so losses with it depend on the number of ranks


class Side(NamedTuple):
    """What one modality says of B clips. (cells) is (T', H', W') for video and (F', T') for sound."""

    filtered: Tensor  # g(x), (B, C, cells)
    kernel: Tensor  # kappa, its mean over the cells, (B, C) fp32
    embedding: Tensor | None  # normalise(head(kappa)), (B, D) fp32; None without heads
    saliency: Tensor | None  # ŝ in [0, 1], (B, cells) fp32; None without h


class Outputs(NamedTuple):
    """Both sides; None for a modality that is not there."""

    video: Side | None
    audio: Side | None

    def sides(self) -> "dict[Modality, Side]":
        """Those that are there, by name."""
        named: dict[Modality, Side | None] = {"video": self.video, "audio": self.audio}
        return {name: side for name, side in named.items() if side is not None}


class Branch(nn.Module):
    """f, g, head and h of the modalities that a run uses. The query model is one, the key model another."""

    def __init__(self, model: Model, modalities: tuple[Modality, ...], *, heads: bool, saliency: bool) -> None:
        super().__init__()
        build = {"video": build_video, "audio": build_audio}
        self.encoders = nn.ModuleDict({name: build[name](model) for name in modalities})
        self.filters = nn.ModuleDict({name: filter_head(name, model) for name in modalities})
        self.heads = nn.ModuleDict()
        if heads:
            names = ("shared",) if model.head.shared else modalities
            self.heads.update({name: projection_head(model) for name in names})
        self.saliency = nn.ModuleDict()
        if saliency:
            self.saliency.update({name: saliency_head(name, model) for name in modalities})

    def forward(self, frames: Tensor | None, spectrogram: Tensor | None) -> Outputs:
        """Frames (B, 3, T, H, W), pictures (B, 1, F, T); None for a modality that is not looked at."""
        return Outputs(
            None if frames is None else self._side("video", frames),
            None if spectrogram is None else self._side("audio", spectrogram),
        )

    def _side(self, modality: Modality, clips: Tensor) -> Side:
        x = self.encoders[modality](clips)
        filtered = self.filters[modality](x)
        kernel = filtered.flatten(2).float().mean(2)
        saliency = self.saliency[modality](x).squeeze(1).float().sigmoid() if self.saliency else None
        return Side(filtered, kernel, self.embed(modality, kernel) if self.heads else None, saliency)

    def project(self, modality: Modality, features: Tensor) -> Tensor:
        """(..., C) through the modality's head, (..., D), not normalised."""
        return self.heads["shared" if "shared" in self.heads else modality](features)

    def embed(self, modality: Modality, kernel: Tensor) -> Tensor:
        """A filter (B, C) as a unit vector of the joint space, (B, D) fp32."""
        return F.normalize(self.project(modality, kernel).float(), dim=1)


def filter_head(modality: Modality, model: Model) -> nn.Sequential:
    """g: a convolution and BN, by default 1 x 1 and no ReLU, which would force every cosine to be positive (A1)."""
    channels = model.channels
    convolution: nn.Module = nn.Conv2d(channels, channels, 1, bias=False)
    if model.g_kernel > 1:
        convolution = CONVOLUTION[modality](channels, channels, model.g_kernel, padding=model.g_kernel // 2, bias=False)
    elif modality == "video":
        convolution = PointwiseConv(channels, channels)
    layers = [convolution, GroupedBatchNorm(channels, model.group)]
    return initialised(nn.Sequential(*layers, nn.ReLU()) if model.g_relu else nn.Sequential(*layers))


def projection_head(model: Model) -> nn.Module:
    """A kernel (..., C) to the joint space (..., D): one layer, MoCo v2's two, or GDT's two (A3)."""
    channels, last = model.channels, nn.Linear(model.channels, model.head.dim, bias=model.head.bias)
    match model.head.type:
        case "linear":
            return last
        case "mlp2":
            return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), last)
        case "gdt":
            first = nn.Linear(channels, channels, bias=False)
            norm = GroupedBatchNorm(channels, model.group)
            return nn.Sequential(first, norm, nn.ReLU(), nn.Dropout(GDT_DROPOUT), last)
        case _:
            assert_never(model.head.type)


def saliency_head(modality: Modality, model: Model) -> nn.Sequential:
    """h: convolution 3, BN, ReLU, convolution 1 to one logit a cell (A10).

    The last convolution keeps its small default weights: Kaiming's (std 1.4) would saturate the sigmoid.
    """
    convolution, hidden = CONVOLUTION[modality], model.saliency.hidden
    first = initialised(convolution(model.channels, hidden, 3, padding=1, bias=False))
    last = convolution(hidden, 1, 1)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, GroupedBatchNorm(hidden, model.group), nn.ReLU(inplace=True), last)
