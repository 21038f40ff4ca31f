"""Both encoders as a GPU trains them best: with the same state dicts and, to rounding, the same numbers.

Batch norm, the shortcut's addition and the ReLU are one (`fused_norm`). Middle channels of R(2+1)D that fit no
tensor core (45, 230, 460, 921) are padded with channels of zeros, which stay zeros and get no gradient. The stem's
7 x 7 convolution of three channels, which skips every other pixel, is one of 4 x 4 over squares of two by two
pixels, with twelve channels. In eval mode all is as it was.
"""

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.convolution import conv_frames, conv_time
from cmac_core.models.fused_norm import FusedNorm
from cmac_core.models.r2plus1d import PointwiseConv, R2Plus1D18, SpatialConv, TemporalConv, VideoBlock
from cmac_core.models.resnet9 import AudioBlock, ResNet9

ModuleT = TypeVar("ModuleT", bound=nn.Module)

FOLDED = 16  # channels of two by two pixels with three each, and four of zeros


def fuse(module: nn.Module) -> None:
    """Let the encoders in `module` train so. Parameters stay the ones that an optimizer has."""
    for part in list(module.modules()):
        if isinstance(part, R2Plus1D18):
            _fuse_video(part)
        elif isinstance(part, ResNet9):
            _fuse_audio(part)


@torch.no_grad()
def widened(encoder: ModuleT) -> ModuleT:
    """An encoder by `without_norms`, R(2+1)D's with the same padding and stem, for a GPU; changed in place."""
    for part in list(encoder.modules()):
        if isinstance(part, nn.Sequential):
            for layer in part:
                if isinstance(layer, SpatialConv):
                    _pad(layer, outputs=padded(layer.out_channels))
                elif isinstance(layer, TemporalConv):
                    _pad(layer, inputs=padded(layer.in_channels))
        if isinstance(part, R2Plus1D18):
            part.stem[0].__class__ = FrozenStem
    return encoder


def padded(channels: int) -> int:
    """The width at which a convolution of this many middle channels is fast: as measured on an H200."""
    if channels % 16 == 0:
        return channels
    step = 16 if channels < 128 else 32
    return -(-channels // step) * step


class PaddedSpatialConv(SpatialConv):
    """A `SpatialConv` whose map has more channels, of zeros, in train mode."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        frames = x.transpose(1, 2).flatten(0, 1)
        weight = _more(self.weight.squeeze(2), outputs=padded(self.out_channels))
        y = conv_frames(frames, weight, None, self.stride[1], self.kernel_size[1] // 2)
        return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class PaddedTemporalConv(TemporalConv):
    """A `TemporalConv` that takes such maps."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        weight = _more(self.weight.squeeze(3), inputs=padded(self.in_channels))
        return conv_time(x.flatten(3), weight, None, self.stride[0]).unflatten(3, x.shape[3:])


class FoldedStem(PaddedSpatialConv):
    """A `PaddedSpatialConv` of 7 x 7 with a stride of 2, over squares of two by two pixels."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.requires_grad:
            return super().forward(x)
        return _over_squares(x, _more(self.weight.squeeze(2), padded(self.out_channels)), None)


class FrozenStem(SpatialConv):
    """The same for evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return _over_squares(x, self.weight.squeeze(2), self.bias)


class FusedVideoBlock(VideoBlock):
    """A `VideoBlock` whose last norm adds the shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        shortcut = x
        if self.downsample is not None:
            pointwise, norm = self.downsample
            assert isinstance(pointwise, PointwiseConv)
            x, kept = _Kept.apply(x, pointwise.stride[0])
            shortcut = norm(pointwise.of_kept(kept))
        convolution, norm = self.conv2
        y: Tensor = norm(convolution(self.conv1(x)), shortcut)
        return y


class FusedAudioBlock(AudioBlock):
    """An `AudioBlock` whose norms hold its ReLUs, and whose last one adds the shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x))), shortcut)
        return y


class FusedResNet9(ResNet9):
    """A `ResNet9` whose first norm holds the ReLU too."""

    def stem(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().stem(x)
        y: Tensor = self.bn1(self.conv1(x))
        return y


class DoneReLU(nn.ReLU):
    """A ReLU that in train mode the norm before it has done."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else super().forward(x)


class _Kept(torch.autograd.Function):
    """A map, and what is left of it after skipping; their gradients are added where they lie.

    The gradient of a slice by itself is a whole map of zeros, in another layout than all others here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: int) -> tuple[Tensor, Tensor]:
        ctx.step = step
        kept = x[:, :, ::step, ::step, ::step].contiguous(memory_format=torch.channels_last_3d)
        return x.view_as(x), kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_kept: Tensor) -> tuple[Tensor, None]:
        whole = of_x.clone()
        whole[:, :, :: ctx.step, :: ctx.step, :: ctx.step] += of_kept
        return whole, None


def _fuse_video(network: R2Plus1D18) -> None:
    for part in list(network.modules()):
        if isinstance(part, VideoBlock):
            part.__class__ = FusedVideoBlock
        elif isinstance(part, nn.Sequential):
            _fuse_layers(list(part))
    for block in network.modules():
        if isinstance(block, FusedVideoBlock):
            _fuse_norm(block.conv2[1], relu=True)
    network.stem[0].__class__ = FoldedStem


def _fuse_layers(layers: list[nn.Module]) -> None:
    """Convolutions, norms and ReLUs one behind the other."""
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, GroupedBatchNorm):
            _fuse_norm(layer, relu=isinstance(following, nn.ReLU))
        elif isinstance(layer, nn.ReLU):
            layer.__class__ = DoneReLU
        elif isinstance(layer, SpatialConv):
            layer.__class__ = PaddedSpatialConv
        elif isinstance(layer, TemporalConv):
            layer.__class__ = PaddedTemporalConv


def _fuse_audio(network: ResNet9) -> None:
    network.__class__ = FusedResNet9
    _fuse_norm(network.bn1, relu=True)
    for part in list(network.modules()):
        if isinstance(part, AudioBlock):
            part.__class__ = FusedAudioBlock
            _fuse_norm(part.bn1, relu=True)
            _fuse_norm(part.bn2, relu=True)
            if part.downsample is not None:
                _fuse_norm(part.downsample[1], relu=False)


def _pad(layer: nn.Conv3d, outputs: int | None = None, inputs: int | None = None) -> None:
    """Zeros for channels that are none, in the weight of a frozen convolution and in its bias."""
    assert layer.bias is not None
    weight = _more(layer.weight.flatten(3), outputs, inputs).unflatten(3, layer.weight.shape[3:])
    layer.weight.data = weight.contiguous(memory_format=torch.channels_last_3d)
    layer.bias.data = F.pad(layer.bias, (0, len(weight) - len(layer.bias)))
    layer.out_channels, layer.in_channels = weight.shape[:2]


def _fuse_norm(norm: nn.Module, relu: bool) -> None:
    norm.__class__ = FusedNorm
    norm.relu = relu  # type: ignore[assignment]


def _over_squares(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Frames (B, 3, T, H, W) by a weight (C', 3, 7, 7) with a stride of 2: (B, C', T, H', W')."""
    frames = x.transpose(1, 2).flatten(0, 1)
    if frames.shape[2] % 2 or frames.shape[3] % 2:
        y = F.conv2d(frames, weight, bias, 2, 3)
    else:
        y = F.conv2d(_squares(frames), _square_weight(weight), bias)
    return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


def _squares(frames: Tensor) -> Tensor:
    """Frames (N, 3, H, W) as (N, FOLDED, H / 2 + 3, W / 2 + 3): two squares of zeros before all others, one behind."""
    count, _, height, width = frames.shape
    device = frames.device.type
    wanted = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else frames.dtype
    squares = frames.new_zeros(count, height // 2 + 3, width // 2 + 3, FOLDED, dtype=wanted)
    pixels = frames.permute(0, 2, 3, 1).unflatten(2, (width // 2, 2)).unflatten(1, (height // 2, 2))
    squares[:, 2:-1, 2:-1, :12].unflatten(-1, (2, 2, 3)).copy_(pixels.transpose(2, 3))
    return squares.permute(0, 3, 1, 2)


def _square_weight(weight: Tensor) -> Tensor:
    """(C', 3, 7, 7) as (C', FOLDED, 4, 4): taps -4 to 3, the first of which is none, as squares -2 to 1 of two each."""
    taps = F.pad(weight, (1, 0, 1, 0)).unflatten(3, (4, 2)).unflatten(2, (4, 2))
    by_square = _more(taps.permute(0, 3, 5, 1, 2, 4).flatten(1, 3), inputs=FOLDED)
    return by_square.contiguous(memory_format=torch.channels_last)


def _more(weight: Tensor, outputs: int | None = None, inputs: int | None = None) -> Tensor:
    """A convolution's weight (C', C, k, l) with zeros for channels that are none."""
    extra = [
        0 if wanted is None else wanted - now for now, wanted in zip(weight.shape, (outputs, inputs), strict=False)
    ]
    return F.pad(weight, (0, 0, 0, 0, 0, extra[1], 0, extra[0])) if any(extra) else weight
