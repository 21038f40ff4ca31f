"""Pyramid correlation filtering: where one modality answers to the other's filter (Eq. 4; A4 to A6)."""

from collections.abc import Collection
from functools import reduce
from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["cosine", "relu_cos", "minmax", "softmax", "none"]
Fuse = Literal["mean", "max", "product"]
Dimension = Literal["time", "space"]

POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
UPSAMPLING = {2: "bilinear", 3: "trilinear"}
DIMENSIONS: dict[int, tuple[Dimension, ...]] = {2: ("space", "time"), 3: ("time", "space", "space")}
FLAT = 1e-6  # a map whose values lie closer than this says nothing


def guidance(
    kernel: Tensor,
    positions: Tensor,
    norm: Norm,
    scales: int,
    *,
    fuse: Fuse = "mean",
    pool: Collection[Dimension] = ("time", "space"),
    source: Tensor | None = None,
) -> Tensor:
    """s: the responses of all scales to a kernel (B, D) at positions (B, D, cells), made one, (B, cells).

    Each further scale pools the positions by two in the dimensions of `pool`; the cells at an odd border average
    what is there. Responses are normalised at their own scale, then enlarged linearly. With a `source`, the map
    (B, D, its cells) that the kernel is the mean of, each scale has a kernel of its own: the mean at that scale.
    """
    cells = positions.shape[2:]
    maps = [respond(kernel, positions, norm)]
    for _ in range(scales - 1):
        positions = halved(positions, pool)
        if source is not None:
            source = halved(source, pool)
            kernel = source.flatten(2).mean(2)
        response = respond(kernel, positions, norm)[:, None]
        maps.append(F.interpolate(response, cells, mode=UPSAMPLING[len(cells)], align_corners=False)[:, 0])
    match fuse:
        case "mean":
            return reduce(torch.add, maps) / scales
        case "max":
            return reduce(torch.maximum, maps)
        case "product":
            return reduce(torch.mul, maps)
        case _:
            assert_never(fuse)


def halved(positions: Tensor, pool: Collection[Dimension]) -> Tensor:
    """Positions (B, D, cells) averaged by two; a single cell stays, which the library would not pool."""
    sizes = positions.shape[2:]
    window = [min(2, size) if name in pool else 1 for name, size in zip(DIMENSIONS[len(sizes)], sizes, strict=True)]
    return POOL[len(sizes)](positions, window, ceil_mode=True)


def respond(kernel: Tensor, positions: Tensor, norm: Norm) -> Tensor:
    """The kernel (B, D) at every position (B, D, cells): (B, cells), in [0, 1] unless norm is `none`."""
    match norm:
        case "cosine":
            return ((1 + cosine(kernel, positions)) / 2).clamp(0, 1)
        case "relu_cos":
            return cosine(kernel, positions).clamp(0, 1)
        case "minmax":
            return stretched(cosine(kernel, positions))
        case "softmax":
            product = torch.einsum("bd,bd...->b...", kernel, positions)
            return product.flatten(1).softmax(1).view_as(product)
        case "none":
            return torch.einsum("bd,bd...->b...", kernel, positions)
        case _:
            assert_never(norm)


def cosine(kernel: Tensor, positions: Tensor) -> Tensor:
    """Of the kernel (B, D) and every position (B, D, cells), (B, cells)."""
    return torch.einsum("bd,bd...->b...", F.normalize(kernel, dim=1), F.normalize(positions, dim=1))


def stretched(response: Tensor) -> Tensor:
    """Each map (B, cells) from its smallest value, 0, to its largest, 1; .5 where it is flat."""
    across = tuple(range(1, response.dim()))
    low, high = response.amin(across, keepdim=True), response.amax(across, keepdim=True)
    flat = high - low < FLAT
    return torch.where(flat, 0.5, (response - low) / torch.where(flat, 1.0, high - low))
