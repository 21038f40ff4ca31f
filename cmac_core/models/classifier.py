"""The video encoder with a classifier on it: what fine-tuning trains (METHOD 7.1)."""

import torch
from torch import Tensor, nn


class VideoClassifier(nn.Module):
    """Frames to the encoder's map, its mean over the cells, dropout, one linear layer."""

    def __init__(self, encoder: nn.Module, channels: int, classes: int, dropout: float) -> None:
        """The layer's weights are orthogonal, drawn from the global generator; its bias is 0."""
        super().__init__()
        self.encoders = nn.ModuleDict({"video": encoder})
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)
        nn.init.orthogonal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, T, H, W) to logits (B, classes), fp32."""
        feature_map = self.encoders["video"](frames)
        with torch.autocast(frames.device.type, enabled=False):
            logits: Tensor = self.head(self.dropout(feature_map.float().flatten(2).mean(2)))
        return logits
