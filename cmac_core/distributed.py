"""What ranks tell each other. With one process, and no process group, each of these is the obvious local thing."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """This process among the ranks; 0 when alone."""
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    """How many ranks there are; 1 when alone."""
    return dist.get_world_size() if _together() else 1


@torch.no_grad()
def gather_rows(rows: Tensor) -> Tensor:
    """Equal shares (B, ...) of all ranks in rank order, (ranks * B, ...), without gradient."""
    if world_size() == 1:
        return rows.detach()
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of equal shares' means, without gradient; the argument stays as it is."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over ranks, with gradient: that of every rank's loss, which data parallelism then averages."""
    summed: Tensor = _Sum.apply(value)
    return summed


class _Sum(torch.autograd.Function):
    """All-reduce; the gradient of a sum that all ranks have is the sum of theirs."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        value = value.clone()
        if world_size() > 1:
            dist.all_reduce(value)
        return value

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(None, gradients[0].contiguous())


@torch.no_grad()
def exchange_rows(rows: Tensor, order: Tensor) -> Tensor:
    """This rank's share of the global batch in another order: row i of the whole becomes row order[i] of the old.

    `rows` (B, ...) is this rank's share, `order` (ranks * B) a permutation on the CPU that all ranks agree on.
    Each row travels once, from the rank that has it to the one that needs it.
    """
    size, ranks = len(rows), world_size()
    assert len(order) == size * ranks
    if ranks == 1:
        return rows[order.to(rows.device)]
    shares = order.view(ranks, size)
    home = shares // size  # which rank has the row
    sent = [share[share // size == rank()] - rank() * size for share in shares]
    received = torch.cat([(home[rank()] == other).nonzero()[:, 0] for other in range(ranks)])
    outgoing = rows[torch.cat(sent).to(rows.device)].contiguous()
    incoming = torch.empty_like(outgoing)
    counts = [int((home[rank()] == other).sum()) for other in range(ranks)]
    dist.all_to_all_single(incoming, outgoing, counts, [len(part) for part in sent])
    return incoming[received.argsort().to(rows.device)]


def all_equal(value: Tensor) -> bool:
    """Whether all ranks have the same value, to the bit. Every rank must ask; it waits for the device."""
    values = gather_rows(value.detach().reshape(1, -1))
    return bool((values == values[0]).all())


@torch.no_grad()
def sync_running_stats(module: nn.Module) -> None:
    """Make batch norm's running statistics their mean over ranks, in place. Every rank calls it before a save.

    Going on from the mean changes no later mean, since the moving average is linear.
    """
    if world_size() == 1:
        return
    buffers = [buffer for name, buffer in module.named_buffers() if name.endswith(("running_mean", "running_var"))]
    if not buffers:
        return
    flat = mean_over_ranks(torch.cat([buffer.flatten() for buffer in buffers]))
    for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
