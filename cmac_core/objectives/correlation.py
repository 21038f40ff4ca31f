"""Pyramid correlation filtering: where one modality answers to the other's filter (Eq. 4; A4 to A6)."""

from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["cosine", "softmax", "none"]

POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
UPSAMPLING = {2: "bilinear", 3: "trilinear"}


def guidance(kernel: Tensor, positions: Tensor, norm: Norm, scales: int) -> Tensor:
    """s: the mean over scales of the responses to a kernel (B, D) at positions (B, D, cells), (B, cells).

    Each further scale pools the positions by two in every dimension; the cells at an odd border average
    what is there. Responses are normalised at their own scale, then enlarged linearly.
    """
    cells = positions.shape[2:]
    total = respond(kernel, positions, norm)
    for _ in range(scales - 1):
        half = [min(2, size) for size in positions.shape[2:]]  # the library does not pool a single cell
        positions = POOL[len(cells)](positions, half, ceil_mode=True)
        response = respond(kernel, positions, norm)[:, None]
        total = total + F.interpolate(response, cells, mode=UPSAMPLING[len(cells)], align_corners=False)[:, 0]
    return total / scales


def respond(kernel: Tensor, positions: Tensor, norm: Norm) -> Tensor:
    """The kernel (B, D) at every position (B, D, cells): (B, cells), in [0, 1] unless norm is `none`."""
    match norm:
        case "cosine":
            cosine = torch.einsum("bd,bd...->b...", F.normalize(kernel, dim=1), F.normalize(positions, dim=1))
            return ((1 + cosine) / 2).clamp(0, 1)
        case "softmax":
            product = torch.einsum("bd,bd...->b...", kernel, positions)
            return product.flatten(1).softmax(1).view_as(product)
        case "none":
            return torch.einsum("bd,bd...->b...", kernel, positions)
        case _:
            assert_never(norm)
