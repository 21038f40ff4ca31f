"""ResNet-9: the sound network, one residual block in each of four stages (METHOD 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm


class AudioBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, group: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = GroupedBatchNorm(outputs, group)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = GroupedBatchNorm(outputs, group)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), GroupedBatchNorm(outputs, group))
            if stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu_(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(y)) + shortcut)


class ResNet9(nn.Module):
    """torchvision's `ResNet(BasicBlock, [1, 1, 1, 1])` on one channel, without its classifier.

    `width` is the first stage's; at 64 there are 4,899,520 parameters. With fewer `stages` the last ones are left out.
    """

    def __init__(self, width: int, group: int | None, stages: int = 4) -> None:
        super().__init__()
        self.channels = width * 2 ** (stages - 1)
        self.steps = 2 ** (stages + 1), 2 ** (stages + 1)  # bands and columns from one cell of the map to the next
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = GroupedBatchNorm(width, group)
        self.layer1 = nn.Sequential(AudioBlock(width, width, 1, group))
        self.stages = ["layer1"]
        for number in range(2, stages + 1):
            inputs = width * 2 ** (number - 2)
            self.stages.append(f"layer{number}")
            self.add_module(self.stages[-1], nn.Sequential(AudioBlock(inputs, 2 * inputs, 2, group)))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Log-mel pictures (B, 1, F, T) to the map after the last block, (B, channels, F', T')."""
        x = spectrogram.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(self.stem(x), 3, 2, 1)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x

    def stem(self, x: Tensor) -> Tensor:
        """Before pooling, (B, width, F / 2, T / 2)."""
        return F.relu_(self.bn1(self.conv1(x)))
