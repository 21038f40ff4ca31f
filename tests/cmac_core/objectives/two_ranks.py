"""One of two gloo ranks: does everything that the tests compare with one process, and writes it down.

python -m tests.cmac_core.objectives.two_ranks RANK STORE OUT
"""

import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cmac_core import distributed
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.objectives.center import Center
from cmac_core.objectives.cmac import Batch
from tests.cmac_core.objectives.small_runs import batch, built, train

COMPARED = (
    *("full", "projected", "ema", "01", "single_a", "no_cl_centered", "by_contrast"),
    *("flow_projected", "key_source", "inbatch_11", "share"),
)
STEPS = 2
LR = 1e-4  # networks this narrow have steep losses: a larger step would blow rounding up


def share(whole: Batch) -> Batch:
    """This rank's half."""
    half = len(whole.video_id) // 2
    mine = slice(half * distributed.rank(), half * (distributed.rank() + 1))
    frames, spectrogram = (rows if rows is None else rows[mine] for rows in whole[:2])
    return Batch(frames, spectrogram, whole.video_id[mine])


def wrapped(query: nn.Module) -> nn.Module:
    """Buffers are each rank's own. The option was renamed in torch 2.13."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(query, **{option: False})


def trained(name: str) -> dict[str, object]:
    """A few steps through DistributedDataParallel, which complains itself about parameters without a gradient."""
    spec, objective = built(name)
    objective.wrap_query(wrapped)
    losses = train(objective, [share(batch(spec, 0))], LR)
    grads = {key: p.grad.clone() for key, p in objective.query.named_parameters() if p.grad is not None}
    losses += train(objective, [share(batch(spec, step)) for step in range(1, STEPS)], LR)
    agree = objective.queues_agree()
    distributed.sync_running_stats(objective)
    if objective.contrast is not None and distributed.rank() == 1:
        objective.contrast.queues[next(iter(objective.contrast.queues))].keys[3] += 1  # type: ignore[index,operator]
    return {
        "losses": [{key: distributed.mean_over_ranks(value) for key, value in step.items()} for step in losses],
        "grads": grads,
        "agree": agree,
        "agree_after_a_change": objective.queues_agree(),
        "state": objective.state_dict(),
    }


def normalised_together(wrap: Callable[[nn.Module], nn.Module], mine: slice) -> dict[str, torch.Tensor]:
    """Gradients and running statistics of a small network whose batch norm knows no groups, on a part of 8 clips."""
    draw = torch.Generator().manual_seed(0)
    x, weights = torch.randn(8, 3, 2, 5, 5, generator=draw), torch.randn(8, 4, 2, 1, 1, generator=draw)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Conv3d(3, 4, (1, 3, 3)), GroupedBatchNorm(4, None), nn.ReLU(inplace=True)]
        net = nn.Sequential(*layers, nn.Conv3d(4, 4, (1, 3, 3)), GroupedBatchNorm(4, None))
    run = wrap(net)  # kept: its hooks go with it
    (run(x[mine]) * weights[mine]).mean().backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return found | {name: buffer.float() for name, buffer in net.named_buffers()}


def talked() -> dict[str, object]:
    """The collectives by themselves."""
    rows = torch.arange(6.0).view(3, 2) + 10 * distributed.rank()
    order = torch.tensor([5, 0, 3, 2, 1, 4])
    return {
        "gathered": distributed.gather_rows(rows),
        "mean": distributed.mean_over_ranks(rows),
        "exchanged": distributed.exchange_rows(rows, order),
        "center": Center("batch", 2)(rows),
        "all_equal": (distributed.all_equal(torch.ones(())), distributed.all_equal(rows.sum())),
        "place": (distributed.rank(), distributed.world_size()),
    }


def main(rank: int, store: Path, out: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error", UserWarning)
    dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    written = {"talked": talked(), "normalised": normalised_together(wrapped, slice(4 * rank, 4 * rank + 4))}
    written |= {name: trained(name) for name in COMPARED}
    torch.save(written, out / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
