"""What a person watches while a run trains (METHOD 10). Detached scalars on the device; no step waits for them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cmac_core.models.branch import Side


@torch.no_grad()
def describe_contrast(logits: Tensor) -> dict[str, Tensor]:
    """Logits (B, 1 + negatives), the positive first: how often it is first or among five, and the spread."""
    ahead = (logits[:, 1:] > logits[:, :1]).sum(1)
    there = logits.masked_fill(logits.isinf(), 0)
    return {"top1": (ahead < 1).float().mean(), "top5": (ahead < 5).float().mean(), "logit_std": there.std()}


@torch.no_grad()
def describe_agreement(video: Side, audio: Side) -> dict[str, Tensor]:
    """Cosine of a clip's two filters, and with those of other clips, before and after the heads (A2)."""
    spaces = {"kernel": (video.kernel, audio.kernel)}
    if video.embedding is not None and audio.embedding is not None:
        spaces["embedding"] = (video.embedding, audio.embedding)
    described = {}
    for name, (one, other) in spaces.items():
        cosines = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
        matched = cosines.diagonal().sum()
        pairs = max(len(cosines) * (len(cosines) - 1), 1)
        described[f"matched_{name}"] = matched / len(cosines)
        described[f"mismatched_{name}"] = (cosines.sum() - matched) / pairs
    return described


@torch.no_grad()
def embedding_spread(embedding: Tensor) -> Tensor:
    """Spread of unit vectors (B, D) over the clips: 1 when they are all over the sphere, 0 when they collapse."""
    return embedding.std(0, correction=0).square().sum().sqrt()


@torch.no_grad()
def describe_attention(guidance: Tensor, prediction: Tensor, cells: float) -> dict[str, Tensor]:
    """Both maps (B, cells), and what L_ac, a mean over cells times `cells`, the best constant map would have."""
    described = {f"s_{name}": value for name, value in describe_map(guidance).items()}
    described |= {f"s_hat_{name}": value for name, value in describe_map(prediction).items()}
    flat = guidance.flatten(1)
    described["constant"] = flat.var(correction=0) * cells
    return described


def describe_map(values: Tensor) -> dict[str, Tensor]:
    """Mean, spread and flatness of maps (B, cells). A spread of 0 or an entropy of 1 is a collapse."""
    flat = values.flatten(1)
    weights = flat.clamp_min(1e-12)
    shares = weights / weights.sum(1, keepdim=True)
    entropy = -(shares * shares.log()).sum(1).mean() / math.log(max(flat.shape[1], 2))
    return {"mean": flat.mean(), "std": flat.std(1, correction=0).mean(), "entropy": entropy}
