"""Weights as other projects lay them out, at a small width: names and shapes are theirs, the numbers are drawn."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.video import r2plus1d_18

from cmac_core.models.encoders import build_audio, build_video
from cmac_core.specs.method import Model

SMALL = Model(width=4)
Tensors = dict[str, Tensor]


def drawn(module: nn.Module, seed: int = 0) -> Tensors:
    """The module's state with running statistics that are worth comparing."""
    draw = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=draw) * 0.1)
        elif name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=draw) + 0.5)
    return state


def encoders(model: Model = SMALL, seed: int = 0) -> dict[str, Tensors]:
    torch.manual_seed(seed)
    return {"video": drawn(build_video(model)), "audio": drawn(build_audio(model))}


def audio_visual(heads: dict[str, nn.Module], *, classifier: bool, model: Model = SMALL) -> Tensors:
    """GDT's and SeLaVi's module tree: `video_network.base`, `audio_network.base` and heads."""
    own = encoders(model)
    tensors = {f"video_network.base.{name}": value for name, value in own["video"].items()}
    tensors |= {f"audio_network.base.{name}": value for name, value in own["audio"].items()}
    if classifier:  # GDT leaves the sound network's own, which nothing uses
        tensors |= {f"audio_network.base.fc.{name}": value for name, value in nn.Linear(512, 1000).state_dict().items()}
    for name, head in heads.items():
        tensors |= {f"{name}.{own}": value for own, value in head.state_dict().items()}
    return tensors


def mlp(outputs: int) -> nn.Module:
    """Their head: 512 to 512 without bias, BN, ReLU, dropout, to `outputs`."""
    parts = [nn.Identity(), nn.Dropout(0.3), nn.Linear(512, 512, bias=False), nn.Identity(), nn.BatchNorm1d(512)]
    parts += [nn.Identity(), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, outputs)]
    return nn.Sequential(*parts)


def gdt(model: Model = SMALL) -> Tensors:
    heads = {name: nn.Sequential() for name in ("mlp_v", "mlp_a")}
    for head in heads.values():
        head.add_module("block_forward", mlp(256))
    return audio_visual(dict(heads), classifier=True, model=model)


def selavi(model: Model = SMALL) -> Tensors:
    heads: dict[str, nn.Module] = {f"mlp_{side}{head}": mlp(309) for side in "va" for head in range(10)}
    return audio_visual(heads, classifier=False, model=model)


def wrapped(tensors: Tensors) -> Tensors:
    """As DataParallel names them."""
    return {f"module.{name}": value for name, value in tensors.items()}


def torchvision_video() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = r2plus1d_18()
    drawn(network)
    return network.eval()


def torchvision_audio() -> nn.Module:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1])
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    drawn(network)
    return network.eval()


def xdc() -> Tensors:
    """R(2+1)D-18 of full width whose every convolution has middle channels of its own; tensors without memory."""

    def renewed(name: str, value: Tensor) -> Tensor:
        stage, block, part = name.split(".")[:3] if name.startswith("layer") else ("", "", "")
        if (block, part) != ("0", "conv2") or stage == "layer1" or name.split(".")[3] != "0":
            return value
        outputs = 64 * 2 ** (int(stage[-1]) - 1)
        middle = 27 * outputs * outputs // (9 * outputs + 3 * outputs)
        shape = list(value.shape)
        if name.endswith("conv2.0.0.weight"):
            shape[0] = middle
        elif name.endswith("conv2.0.3.weight"):
            shape[1] = middle
        elif shape:  # batch norm between the two
            shape[0] = middle
        return torch.zeros(shape, device="meta")

    with torch.device("meta"):
        state: Any = r2plus1d_18().state_dict()
    return {name: renewed(name, value) for name, value in state.items() if not name.startswith("fc.")}


def avid() -> Tensors:
    """AVID's first tensors, as in its wrapper of a video and an audio model."""
    shapes = {
        "video_model.conv1.0.weight": (64, 3, 3, 7, 7),
        "video_model.conv2x.0.spt_conv1.weight": (64, 64, 1, 3, 3),
        "video_model.conv2x.0.out_bn.weight": (64,),
        "audio_model.conv1.0.weight": (64, 1, 7, 7),
        "audio_model.block1.conv1.weight": (64, 64, 3, 3),
        "video_proj.projection.0.weight": (512, 512),
    }
    return {name: torch.zeros(shape) for name, shape in shapes.items()}
