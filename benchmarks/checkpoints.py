"""For how long a step waits for a checkpoint: against writing it there and then."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.rounds import Comparison, compare
from cmac_core.objectives.cmac import build_objective
from cmac_core.specs import Pretrain
from cmac_core.specs.method import Checkpoints
from cmac_core.training import checkpoint_files
from cmac_core.training.optimizer import optimizer_of
from cmac_core.training.run import Run
from cmac_core.training.saving import Saving


def blocked(rounds: int) -> Comparison:
    """The state of a training at the paper's size: two models, momentum of SGD, queues of 15,000."""
    state = paper_state()
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        with Run(at, {}) as run, Saving(run, Checkpoints(keep=1), "") as saving:

            def plain() -> None:
                with (at / "draft").open("wb") as file:
                    torch.save(state, file)
                    os.fsync(file.fileno())
                (at / "draft").rename(at / "plain.pt")

            saving.save(state)
            plain()
            saving.settle()
            (stored,) = checkpoint_files.stored(at / "checkpoints")
            torch.testing.assert_close(
                *(torch.load(path, weights_only=True)["objective"] for path in (stored.state, at / "plain.pt"))
            )
            return compare(
                "checkpoint, while a step waits",
                lambda: saving.save(state),
                plain,
                work=1,
                unit="saves/s",
                rounds=rounds,
                after=saving.settle,
            )


def paper_state() -> dict[str, Any]:
    """What a training holds after its first step, in the form of its checkpoints."""
    spec = Pretrain.model_validate({"kind": "pretrain", "dataset": "none"})
    objective = build_objective(spec)
    optimizer = optimizer_of(spec, objective)
    for parameter in objective.query.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {
        "step": 1, "train_epoch": 0.5, "world_size": 1, "last_pass": {}, "spec": spec.model_dump(mode="json"),
        "objective": objective.state_dict(), "optimizer": optimizer.state_dict(),
    }  # fmt: skip
