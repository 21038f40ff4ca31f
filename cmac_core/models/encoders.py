"""The two encoders of a model spec. Both return the map before pooling, which everything downstream uses (A22)."""

from typing import TypeVar, assert_never

import torch
from torch import nn

from cmac_core.models.r2plus1d import R2Plus1D18
from cmac_core.models.resnet9 import ResNet9
from cmac_core.specs.method import Model

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build_video(model: Model) -> R2Plus1D18:
    """Frames (B, 3, T, H, W) to a map (B, channels, T', H', W'), freshly initialised from the global generator."""
    match model.video:
        case "r2plus1d_18":
            return initialised(R2Plus1D18(model.width, model.group, model.depth, model.stages))
        case _:
            assert_never(model.video)


def build_audio(model: Model) -> ResNet9:
    """Log-mel pictures (B, 1, F, T) to a map (B, channels, F', T'), freshly initialised from the global generator."""
    match model.audio:
        case "resnet9":
            return initialised(ResNet9(model.width, model.group, model.stages))
        case _:
            assert_never(model.audio)


def initialised(module: ModuleT) -> ModuleT:
    """Kaiming normal, fan out, for every convolution, as torchvision and the paper's relatives do (METHOD 3.1)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return channels_last(module)


def channels_last(module: ModuleT) -> ModuleT:
    """Keep the weights of convolutions as their inputs lie in memory, so that no step and no rank reorders them."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            layout = torch.channels_last_3d if isinstance(part, nn.Conv3d) else torch.channels_last
            # A 1 x 1 kernel counts as contiguous in any layout, so `contiguous` would leave its strides.
            part.weight.data = torch.empty_like(part.weight.data, memory_format=layout).copy_(part.weight.data)
    return module
