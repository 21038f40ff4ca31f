"""Convolutions of folded maps that know where matrix products beat the library (CPU), with the same answers.

On a CPU the library's convolutions in channels-last memory run near the processor's peak, with two exceptions: the
gradient of a weight that is long in time, and everything where a map has fewer cells than the weight has channels,
as in the last stages, since there the library spends its time in reordering weights. Both are products of matrices
that lie in memory as they are needed. What is taken depends on shapes alone, so a run and its resumption take the
same; on other devices and in small networks it is the library's.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

WIDE = 64  # channels on both sides from which a product pays
MANY = 2**10  # cells of a clip, above which copies that shift frames cost more than calls
WORK = 2**24  # multiplications below which calls cost as much as work: small trainings stay the library's


def conv_frames(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Frames (N, C, H, W) by a weight (C', C, k, k) and an optional bias (C',): (N, C', H', W')."""
    if not _ours(x, weight, _cells(x, weight, stride, padding)):
        return F.conv2d(x, weight, bias, stride, padding)
    x, weight = _same_type(x, weight)
    if bias is not None:  # folded, for evaluation
        return _frames(x, weight, bias.to(x.dtype), stride, padding)
    y: Tensor = _Frames.apply(x, weight, stride, padding)
    return y


def conv_time(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A map folded to (B, C, T, cells) by a weight (C', C, 3, 1): (B, C', T', cells), one zero before and after."""
    if bias is not None or not _ours(x, weight, x.numel() // x.shape[1] // stride):
        return F.conv2d(x, weight, bias, (stride, 1), (1, 0))
    y: Tensor = _Time.apply(*_same_type(x, weight), stride)
    return y


def _ours(x: Tensor, weight: Tensor, cells: int) -> bool:
    return x.device.type == "cpu" and min(weight.shape[:2]) >= WIDE and weight.numel() * cells >= WORK


def _same_type(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type that autocast asks for, which does not reach into a function with a backward of its own."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight
    wanted = torch.get_autocast_dtype("cpu")
    return x.to(wanted), weight.to(wanted)


def _frames(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    if 2 * _cells(x, weight, stride, padding) > weight.shape[1]:
        return F.conv2d(x, weight, bias, stride, padding)
    y = F.linear(_patches(x, weight.shape[-1], stride, padding), _matrix(weight), bias)
    return y.unflatten(0, (len(x), *_size(x, weight, stride, padding))).permute(0, 3, 1, 2)


def _size(x: Tensor, weight: Tensor, stride: int, padding: int) -> tuple[int, int]:
    height, width = ((side + 2 * padding - weight.shape[-1]) // stride + 1 for side in x.shape[2:])
    return height, width


def _cells(x: Tensor, weight: Tensor, stride: int, padding: int) -> int:
    """Of the result, over all frames."""
    height, width = _size(x, weight, stride, padding)
    return len(x) * height * width


class _Frames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return _frames(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        cells, channels = _cells(x, weight, stride, padding), weight.shape[1]
        x_here = ctx.needs_input_grad[0] and 2 * cells <= channels
        weight_here = ctx.needs_input_grad[1] and cells <= 2 * channels
        others = (ctx.needs_input_grad[0] and not x_here, ctx.needs_input_grad[1] and not weight_here)
        to_x, to_weight = _library(gradient, x, weight, (stride, stride), (padding, padding), others)
        if weight_here:
            rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
            product = rows.T @ _patches(x, weight.shape[-1], stride, padding)
            to_weight = product.view(len(weight), *weight.shape[2:], channels).permute(0, 3, 1, 2)
        if x_here:
            to_x = _spread(gradient, weight, x, stride, padding)
        return to_x, to_weight, None, None


class _Time(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, (stride, 1), (1, 0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        # In 16 bits the library's own is the faster one on large maps.
        by_products = wants_weight and (x.dtype is torch.float32 or gradient.numel() < 2**18)
        to_x, to_weight = _library(
            gradient, x, weight, (ctx.stride, 1), (1, 0), (wants_x, wants_weight and not by_products)
        )
        if by_products:
            to_weight = _weight_gradient_in_time(x, gradient, ctx.stride)
        return to_x, to_weight, None


def _weight_gradient_in_time(x: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """(C', C, 3, 1) by products over all cells of all frames."""
    sent, came = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # (B, T, cells, C)
    by_taps = came.shape[1] * came.shape[2] >= MANY and came.dtype.itemsize >= 4
    taps = _of_taps(sent, came, stride) if by_taps else _of_shifted(sent, came, stride)
    return taps.unsqueeze(3)


def _of_taps(sent: Tensor, came: Tensor, stride: int) -> Tensor:
    """A product for each tap and clip, of frames as they lie in memory."""
    taps = []
    for tap in range(3):
        # Frame t of the result sees frame stride * t + tap - 1, where there is one.
        first, last = int(tap == 0), min(came.shape[1], (sent.shape[1] - tap) // stride + 1)
        seen = slice(stride * first + tap - 1, stride * (last - 1) + tap, stride)
        told, looked_at = came[:, first:last].flatten(1, 2), sent[:, seen].flatten(1, 2)
        total = told.new_zeros(told.shape[2], looked_at.shape[2])
        for one, other in zip(told, looked_at, strict=True):
            total.addmm_(one.T, other)
        taps.append(total)
    return torch.stack(taps, 2)


def _of_shifted(sent: Tensor, came: Tensor, stride: int) -> Tensor:
    """One product for all taps of small maps; what is shifted is the smaller where both can be."""
    steps = came.shape[1]
    if stride == 1:
        wide = F.pad(came, (0, 0, 0, 0, 1, 1))
        shifted = torch.cat([wide[:, 2 - tap : 2 - tap + steps] for tap in range(3)], 3)
        taps = (shifted.flatten(0, 2).T @ sent.flatten(0, 2)).view(3, came.shape[3], -1).transpose(0, 1)
    else:
        wide = F.pad(sent, (0, 0, 0, 0, 1, 1))
        shifted = torch.cat([wide[:, tap : tap + stride * (steps - 1) + 1 : stride] for tap in range(3)], 3)
        taps = (came.flatten(0, 2).T @ shifted.flatten(0, 2)).view(came.shape[3], 3, -1)
    return taps.transpose(1, 2)


def _library(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a convolution that are wanted, of x and of the weight."""
    if not any(wanted):
        return None, None
    to_x, to_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, (*wanted, False)
    )
    return to_x, to_weight


def _matrix(weight: Tensor) -> Tensor:
    """(C', k k C): a view where the weight lies in channels-last memory."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _patches(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """What each cell of the result sees, as rows (N H' W', k k C)."""
    wide = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    return wide.unfold(1, kernel, stride).unfold(2, kernel, stride).permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def _spread(gradient: Tensor, weight: Tensor, x: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of x: what each cell says of its patch, added up where patches overlap."""
    count, _, height, width = gradient.shape
    kernel = weight.shape[-1]
    said = gradient.permute(0, 2, 3, 1).flatten(0, 2) @ _matrix(weight)
    said = said.view(count, height, width, kernel, kernel, -1)
    rows, columns = (side + 2 * padding for side in x.shape[2:])
    whole = said.new_zeros(count, rows, columns, said.shape[-1])
    for i in range(kernel):
        for j in range(kernel):
            down, along = (slice(at, at + stride * (of - 1) + 1, stride) for at, of in ((i, height), (j, width)))
            whole[:, down, along] += said[:, :, :, i, j]
    return whole[:, padding : rows - padding, padding : columns - padding].permute(0, 3, 1, 2)
