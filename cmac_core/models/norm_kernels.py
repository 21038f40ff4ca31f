"""Batch norm of all groups, what is added behind it and the ReLU, in as few passes over memory as they need (Triton).

A map (B, C, ...) in channels-last memory is one row of cells after the other, with C channels each, and a group is so
many cells. Forward, x is read twice and the result written; backward, x and the gradient are read twice. A line is as
many cells as make its channels a multiple of WIDE: 144 channels then leave no thread without work. Sums are taken in
fp32, of differences from the group's first cell, so that a mean far from zero costs no digits.
"""

import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from cmac_core.models.batch_norm import Running

WIDE = 256  # channels of a tile
LINES = 16  # and lines of it that one program has in hand
WARPS = 4
PROGRAMS = 2112  # in a launch at most: sixteen for each of an H200's multiprocessors


@triton.jit
def _place(lines, width, chunk, LINES: tl.constexpr, WIDE: tl.constexpr):
    """This program's group, columns and lines, where its first tile lies, and what is in it."""
    part, tile, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    columns = tile * WIDE + tl.arange(0, WIDE)
    first = part * chunk
    last = tl.minimum(first + chunk, lines)
    own = tl.arange(0, LINES)
    begin = (group.to(tl.int64) * lines + first) * width
    return group, columns, own, first, last, begin, own[:, None] * width + columns[None, :]


@triton.jit
def _moments(x, sums, lines, width, channels, chunk, LINES: tl.constexpr, WIDE: tl.constexpr):
    """Of each chunk of lines the sums of x - s and of its square, where s is the group's first cell."""
    group, columns, own, first, last, begin, inside = _place(lines, width, chunk, LINES, WIDE)
    there = columns < width
    shift = tl.load(x + group.to(tl.int64) * lines * width + columns % channels, mask=there, other=0.0).to(tl.float32)
    one = tl.zeros([LINES, WIDE], tl.float32)
    two = tl.zeros([LINES, WIDE], tl.float32)
    x += begin
    for line in range(first, last, LINES):
        mask = (line + own < last)[:, None] & there[None, :]
        off = tl.load(x + inside, mask=mask, other=0.0).to(tl.float32) - shift[None, :]
        off = tl.where(mask, off, 0.0)
        one += off
        two += off * off
        x += LINES * width
    out = sums + ((tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * 2) * width + columns
    tl.store(out, tl.sum(one, 0), mask=there)
    tl.store(out + width, tl.sum(two, 0), mask=there)


@triton.jit
def _normalise(
    x, add, y, sums, weight, bias, mean, variance, lines, width, channels, real, cells, eps, chunk,
    LINES: tl.constexpr, WIDE: tl.constexpr, ADD: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """The map, and each group's mean and biased variance. Channels from `real` on have no weight, and come out 0."""
    group, columns, own, first, last, begin, inside = _place(lines, width, chunk, LINES, WIDE)
    there = columns < width
    channel = columns % channels
    shift = tl.load(x + group.to(tl.int64) * lines * width + channel, mask=there, other=0.0).to(tl.float32)
    one = tl.load(sums + group * 2 * channels + channel, mask=there, other=0.0) / cells
    two = tl.load(sums + (group * 2 + 1) * channels + channel, mask=there, other=0.0) / cells
    middle = shift + one
    spread = tl.maximum(two - one * one, 0.0)
    if tl.program_id(0) == 0:
        tl.store(mean + group * channels + channel, middle, mask=columns < channels)
        tl.store(variance + group * channels + channel, spread, mask=columns < channels)
    scale = tl.load(weight + channel, mask=channel < real, other=0.0) * tl.rsqrt(spread + eps)
    base = tl.load(bias + channel, mask=channel < real, other=0.0)
    x += begin
    y += begin
    add += begin
    for line in range(first, last, LINES):
        mask = (line + own < last)[:, None] & there[None, :]
        value = tl.load(x + inside, mask=mask, other=0.0).to(tl.float32)
        value = (value - middle[None, :]) * scale[None, :] + base[None, :]
        if ADD:
            value += tl.load(add + inside, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            value = tl.where(value < 0.0, 0.0, value)
        tl.store(y + inside, value.to(y.dtype.element_ty), mask=mask)
        x += LINES * width
        y += LINES * width
        add += LINES * width


@triton.jit
def _follow(
    mean, variance, running_mean, running_variance, groups, channels, real, correction, momentum, WIDE: tl.constexpr
):  # fmt: skip
    """Moving averages by the mean over groups, one step; what is not finite leaves no trace."""
    columns = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = columns < real
    one = tl.zeros([WIDE], tl.float32)
    two = tl.zeros([WIDE], tl.float32)
    for _ in range(groups):
        one += tl.load(mean + columns, mask=there, other=0.0)
        two += tl.load(variance + columns, mask=there, other=0.0)
        mean += channels
        variance += channels
    one = one / groups
    two = two / groups * correction
    before = tl.load(running_mean + columns, mask=there, other=0.0)
    tl.store(running_mean + columns, before + momentum * (one - before), mask=there & (tl.abs(one) < float("inf")))
    before = tl.load(running_variance + columns, mask=there, other=0.0)
    tl.store(running_variance + columns, before + momentum * (two - before), mask=there & (tl.abs(two) < float("inf")))


@triton.jit
def _factors(weight, bias, mean, variance, channel, there, real, eps):
    """Of each column: the group's mean and one over its standard deviation, and what x is scaled and shifted by."""
    middle = tl.load(mean + channel, mask=there, other=0.0)
    inverse = tl.rsqrt(tl.load(variance + channel, mask=there, other=0.0) + eps)
    scale = tl.load(weight + channel, mask=channel < real, other=0.0) * inverse
    base = tl.load(bias + channel, mask=channel < real, other=0.0)
    return middle, inverse, scale, base


@triton.jit
def _gradient_sums(
    x, y, given, passed, sums, weight, bias, mean, variance, lines, width, channels, real, cells, eps, chunk,
    LINES: tl.constexpr, WIDE: tl.constexpr, ADD: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Of each chunk the sums of the gradient behind the ReLU, and of it times x normalised.

    Where something was added, that gradient is also what the addend gets, and is written.
    """
    group, columns, own, first, last, begin, inside = _place(lines, width, chunk, LINES, WIDE)
    there = columns < width
    channel = columns % channels
    middle, inverse, scale, base = _factors(
        weight, bias, mean + group * channels, variance + group * channels, channel, there, real, eps
    )
    one = tl.zeros([LINES, WIDE], tl.float32)
    two = tl.zeros([LINES, WIDE], tl.float32)
    x += begin
    y += begin
    given += begin
    passed += begin
    for line in range(first, last, LINES):
        mask = (line + own < last)[:, None] & there[None, :]
        off = tl.load(x + inside, mask=mask, other=0.0).to(tl.float32) - middle[None, :]
        gradient = tl.load(given + inside, mask=mask, other=0.0).to(tl.float32)
        if ADD:
            if RELU:
                gradient = tl.where(tl.load(y + inside, mask=mask, other=0.0) > 0.0, gradient, 0.0)
            tl.store(passed + inside, gradient.to(passed.dtype.element_ty), mask=mask)
        elif RELU:
            gradient = tl.where(off * scale[None, :] + base[None, :] > 0.0, gradient, 0.0)
        one += gradient
        two += gradient * off
        x += LINES * width
        y += LINES * width
        given += LINES * width
        passed += LINES * width
    out = sums + ((tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * 2) * width + columns
    tl.store(out, tl.sum(one, 0), mask=there)
    tl.store(out + width, tl.sum(two, 0) * inverse, mask=there)


@triton.jit
def _gradient(
    x, given, out, sums, weight, bias, mean, variance, lines, width, channels, real, cells, eps, chunk,
    LINES: tl.constexpr, WIDE: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """The gradient of x, from that of the map and its sums over the group."""
    group, columns, own, first, last, begin, inside = _place(lines, width, chunk, LINES, WIDE)
    there = columns < width
    channel = columns % channels
    middle, inverse, scale, base = _factors(
        weight, bias, mean + group * channels, variance + group * channels, channel, there, real, eps
    )
    one = tl.load(sums + group * 2 * channels + channel, mask=there, other=0.0) / cells
    two = tl.load(sums + (group * 2 + 1) * channels + channel, mask=there, other=0.0) / cells * inverse
    x += begin
    given += begin
    out += begin
    for line in range(first, last, LINES):
        mask = (line + own < last)[:, None] & there[None, :]
        off = tl.load(x + inside, mask=mask, other=0.0).to(tl.float32) - middle[None, :]
        gradient = tl.load(given + inside, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            gradient = tl.where(off * scale[None, :] + base[None, :] > 0.0, gradient, 0.0)
        gradient = scale[None, :] * (gradient - one[None, :] - off * two[None, :])
        tl.store(out + inside, gradient.to(out.dtype.element_ty), mask=mask)
        x += LINES * width
        given += LINES * width
        out += LINES * width


class _Launch(NamedTuple):
    """How a map is shared out among programs."""

    grid: tuple[int, int, int]  # chunks of lines, tiles of a line, groups
    lines: int  # of a group: so many cells in a row that their channels fill whole tiles
    width: int  # of a line
    channels: int
    cells: int  # of a group
    chunk: int  # lines of a program

    @property
    def tile(self) -> dict[str, int]:
        return {"LINES": LINES, "WIDE": WIDE, "num_warps": WARPS}

    def sums(self, like: Tensor) -> Tensor:
        """Room for two sums of each program's columns."""
        return like.new_empty((self.grid[2], self.grid[0], 2, self.width), dtype=torch.float32)

    def added(self, sums: Tensor) -> Tensor:
        """Those of each group and channel, (groups, 2, channels)."""
        return sums.unflatten(3, (-1, self.channels)).sum((1, 3))


def _launch(cells: Tensor, groups: int) -> _Launch:
    channels = cells.shape[-1]
    count = cells.numel() // channels // groups
    together = WIDE // math.gcd(channels, WIDE)
    together = together if count % together == 0 else 1
    lines, width = count // together, channels * together
    tiles = triton.cdiv(width, WIDE)
    parts = min(max(PROGRAMS // (groups * tiles), 1), triton.cdiv(lines, LINES))
    chunk = triton.cdiv(triton.cdiv(lines, parts), LINES) * LINES
    return _Launch((triton.cdiv(lines, chunk), tiles, groups), lines, width, channels, count, chunk)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, add: Tensor | None, running: Running, groups: int,
        eps: float, relu: bool,
    ) -> Tensor:  # fmt: skip
        # No view: what comes behind may work in place.
        y = torch.empty_like(x, memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
        x = _cells(x)
        other = x if add is None else _cells(add)
        on = _launch(x, groups)
        sums = on.sums(x)
        mean, variance = x.new_empty((2, groups, on.channels), dtype=torch.float32).unbind()
        _moments[on.grid](x, sums, on.lines, on.width, on.channels, on.chunk, **on.tile)
        _normalise[on.grid](
            x, other, y, on.added(sums), weight, bias, mean, variance, on.lines, on.width, on.channels, len(weight),
            on.cells, eps, on.chunk, ADD=add is not None, RELU=relu, **on.tile,
        )  # fmt: skip
        ctx.save_for_backward(x, y if add is not None and relu else x, weight, bias, mean, variance)
        ctx.groups, ctx.eps, ctx.relu, ctx.added = groups, eps, relu, add is not None
        _follow[(triton.cdiv(len(weight), WIDE),)](
            mean, variance, running.mean, running.variance, groups, on.channels, len(weight),
            on.cells / (on.cells - 1), running.momentum, WIDE=WIDE,
        )  # fmt: skip
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, bias, mean, variance = ctx.saved_tensors
        gradient, on, real = _cells(gradient), _launch(x, ctx.groups), len(weight)
        passed = torch.empty_like(x) if ctx.added else x
        sums = on.sums(x)
        of_norm = (
            weight, bias, mean, variance, on.lines, on.width, on.channels, real, on.cells, ctx.eps, on.chunk
        )  # fmt: skip
        _gradient_sums[on.grid](x, y, gradient, passed, sums, *of_norm, ADD=ctx.added, RELU=ctx.relu, **on.tile)
        totals = on.added(sums)
        out = torch.empty_like(x)
        # What was passed on to the addend is behind the ReLU already.
        given, relu = (passed, False) if ctx.added else (gradient, ctx.relu)
        _gradient[on.grid](x, given, out, totals, *of_norm, RELU=relu, **on.tile)
        of_bias, of_weight = totals.sum(0)[:, :real].unbind()
        of_add = passed.movedim(-1, 1) if ctx.added else None
        return out.movedim(-1, 1), of_weight, of_bias, of_add, None, None, None, None


def _cells(x: Tensor) -> Tensor:
    """(B, C, ...) as (B, ..., C), as it lies in channels-last memory."""
    return x.movedim(1, -1).contiguous()


def normalised(
    x: Tensor, weight: Tensor, bias: Tensor, running: Running, groups: int, eps: float, relu: bool, add: Tensor | None
) -> Tensor:
    """As `fused_norm.normalised`, for maps (B, C, H, W) and (B, C, T, H, W); on a CPU by Triton's interpreter alone."""
    y: Tensor = _Norm.apply(x, weight, bias, add, running, groups, eps, relu)
    return y
