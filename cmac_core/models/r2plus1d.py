"""R(2+1)D-18: a video network whose 3-D convolutions are a spatial and then a temporal one (METHOD 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.convolution import conv_frames, conv_time


class SpatialConv(nn.Conv3d):
    """A 1 x k x k convolution, run in 2-D over all frames. In channels-last memory no view copies."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        pad = kernel // 2
        super().__init__(inputs, outputs, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C', T, H', W')."""
        frames = x.transpose(1, 2).flatten(0, 1)
        y = conv_frames(frames, self.weight.squeeze(2), self.bias, self.stride[1], self.kernel_size[1] // 2)
        return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class TemporalConv(nn.Conv3d):
    """A 3 x 1 x 1 convolution, run in 2-D over (time, cell)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C', T', H, W)."""
        # Squeezing the other 1 would give the gradient other strides than the weight.
        y = conv_time(x.flatten(3), self.weight.squeeze(3), self.bias, self.stride[0])
        return y.unflatten(3, x.shape[3:])


class PointwiseConv(nn.Conv3d):
    """A 1 x 1 x 1 convolution, in 2-D; with a stride it skips in time and space."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, C', T', H', W')."""
        step = self.stride[0]
        return self.of_kept(x[:, :, ::step, ::step, ::step])

    def of_kept(self, kept: Tensor) -> Tensor:
        """The same of cells that are left over after skipping, (B, C, T', H', W')."""
        frames = kept.transpose(1, 2).flatten(0, 1)
        y = F.conv2d(frames, self.weight.squeeze(2), self.bias)
        return y.unflatten(0, (kept.shape[0], kept.shape[2])).transpose(1, 2)


def middle_channels(inputs: int, outputs: int) -> int:
    """Channels between the two convolutions: as many parameters as one 3 x 3 x 3 convolution would have."""
    return 27 * inputs * outputs // (9 * inputs + 3 * outputs)


def factored_conv(inputs: int, middle: int, outputs: int, stride: int, group: int | None) -> nn.Sequential:
    """Spatial convolution, BN, ReLU, temporal convolution."""
    return nn.Sequential(
        SpatialConv(inputs, middle, 3, stride),
        GroupedBatchNorm(middle, group),
        nn.ReLU(inplace=True),
        TemporalConv(middle, outputs, stride),
    )


class VideoBlock(nn.Module):
    """Two factored convolutions with a shortcut. Both use the middle width of the block's (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int, stride: int, group: int | None) -> None:
        super().__init__()
        middle = middle_channels(inputs, outputs)
        self.conv1 = nn.Sequential(
            factored_conv(inputs, middle, outputs, stride, group),
            GroupedBatchNorm(outputs, group),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            factored_conv(outputs, middle, outputs, 1, group),
            GroupedBatchNorm(outputs, group),
        )
        self.downsample = (
            nn.Sequential(PointwiseConv(inputs, outputs, stride), GroupedBatchNorm(outputs, group))
            if stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu_(self.conv2(self.conv1(x)) + shortcut)


class R2Plus1D18(nn.Module):
    """torchvision's `r2plus1d_18` without its classifier: same names, same shapes, same outputs.

    `width` is the first stage's; at 64 there are 31,300,125 parameters. With a `depth` of 1 each stage keeps its
    first block alone: half the work, for small trainings on a CPU; with fewer `stages` the last ones are left out.
    """

    def __init__(self, width: int, group: int | None, depth: int = 2, stages: int = 4) -> None:
        super().__init__()
        stem = max(45 * width // 64, 1)
        self.channels = width * 2 ** (stages - 1)
        self.steps = 2 ** (stages - 1), 2**stages, 2**stages  # frames and pixels from one cell of the map to the next
        self.stem = nn.Sequential(
            SpatialConv(3, stem, 7, 2),
            GroupedBatchNorm(stem, group),
            nn.ReLU(inplace=True),
            TemporalConv(stem, width),
            GroupedBatchNorm(width, group),
            nn.ReLU(inplace=True),
        )
        self.layer1 = video_stage(width, width, 1, group, depth)
        self.stages = ["layer1"]
        for number in range(2, stages + 1):
            inputs = width * 2 ** (number - 2)
            self.stages.append(f"layer{number}")
            self.add_module(self.stages[-1], video_stage(inputs, 2 * inputs, 2, group, depth))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, T, H, W) to the map after the last block, (B, channels, T', H', W')."""
        x: Tensor = self.stem(frames.contiguous(memory_format=torch.channels_last_3d))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x


def video_stage(inputs: int, outputs: int, stride: int, group: int | None, depth: int) -> nn.Sequential:
    """`depth` blocks; the first one strides in time and space."""
    later = (VideoBlock(outputs, outputs, 1, group) for _ in range(depth - 1))
    return nn.Sequential(VideoBlock(inputs, outputs, stride, group), *later)
