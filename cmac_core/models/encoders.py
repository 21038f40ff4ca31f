"""The two encoders of a model spec. Both return the map before pooling, which everything downstream uses (A22)."""

from typing import TypeVar, assert_never

from torch import nn

from cmac_core.models.r2plus1d import R2Plus1D18
from cmac_core.models.resnet9 import ResNet9
from cmac_core.specs.method import Model

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build_video(model: Model) -> R2Plus1D18:
    """Frames (B, 3, T, H, W) to a map (B, 8 width, T', H', W'), freshly initialised from the global generator."""
    match model.video:
        case "r2plus1d_18":
            return initialised(R2Plus1D18(model.width, model.bn_group))
        case _:
            assert_never(model.video)


def build_audio(model: Model) -> ResNet9:
    """Log-mel pictures (B, 1, F, T) to a map (B, 8 width, F', T'), freshly initialised from the global generator."""
    match model.audio:
        case "resnet9":
            return initialised(ResNet9(model.width, model.bn_group))
        case _:
            assert_never(model.audio)


def initialised(module: ModuleT) -> ModuleT:
    """Kaiming normal, fan out, for every convolution, as torchvision and the paper's relatives do (METHOD 3.1)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return module
