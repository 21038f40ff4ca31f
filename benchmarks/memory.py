"""Peak memory of one step of the paper's size at batch 4: ours in bf16, which is what a GPU gets, over plain fp32.

Each arm is a process of its own, one after the other; some minutes on one core, so not in `make bench QUICK=1`.
"""

import resource
import subprocess
import sys

import torch

from benchmarks.plain import PlainLoop, torchvisions
from benchmarks.rounds import Comparison
from cmac_core.objectives.cmac import Batch, build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.optimizer import optimizer_of

CLIPS = 4


def peak(_: int = 1) -> Comparison:
    """Steps that fit into 100 GB."""
    plain, ours = (_measured(arm) for arm in ("plain", "ours"))
    ratio = plain / ours
    return Comparison(
        "memory of a step, plain over ours", "in 100 GB", 1e11 / ours, 1e11 / plain, ratio, ratio, ratio, 1
    )


def _measured(arm: str) -> float:
    """Bytes at the most, beyond models, optimizer and batch."""
    found = subprocess.run([sys.executable, "-m", __name__, arm], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def main(arm: str) -> None:
    """One step; print by how many bytes the process grew."""
    torch.set_num_threads(1)
    spec = Pretrain.model_validate(
        {
            "dataset": "noise",
            "preset": "paper",
            "model": {"bn_group": CLIPS},
            "moco": {"key_bn": "aligned"},
            "loss": {"lambda_ac": 0},
            "optim": {"batch": CLIPS},
        }
    )
    frames = torch.randn(CLIPS, 3, spec.data.frames, spec.data.crop, spec.data.crop)
    mel, videos = torch.randn(CLIPS, 1, 257, 99), torch.arange(CLIPS)
    ours = build_objective(spec).train()
    optimizer = optimizer_of(spec, ours)
    plain = PlainLoop(ours, spec, torchvisions(ours.query)) if arm == "plain" else None
    before = _peak()
    if plain is not None:
        plain.step(frames, mel)
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=arm == "ours"):
            loss = ours.losses(Batch(frames, mel, videos), 1.0)["total"]
        loss.backward()
        optimizer.step()
        ours.end_step()
    print(_peak() - before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1])
