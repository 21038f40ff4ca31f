"""What the trainer adds to a step: its loop against a bare one, step by step, over the same clips of noise."""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.rounds import Comparison, comparison
from cmac_core.data.loader import Loader
from cmac_core.data.sampler import Position, Sampler
from cmac_core.events import Replaced
from cmac_core.jobs.pretrain import schedule_of
from cmac_core.objectives.cmac import Batch, Cmac, build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.optimizer import optimizer_of
from cmac_core.training.progress import ProgressMeter
from cmac_core.training.ranks import Place, Ranks
from cmac_core.training.run import Run
from cmac_core.training.saving import Saving
from cmac_core.training.trainer import Trainer, pace_of
from cmac_core.training.views import Views

STEPS = 8  # a pass


class InTurn:
    """In the loader's place: one batch, again and again, ready at once; before each the other loop makes its step.

    So both are measured within a second of each other: a machine's speed moves more than they differ.
    """

    def __init__(self, batch: Batch, other: Callable[[int], None]) -> None:
        self.batch, self.waited = batch, 0.0
        self.replaced: list[Replaced] = []
        self._other = other
        self.other_s = 0.0  # of processor time, of a pass

    def batches(self, start: Position, count: int) -> Iterator[Batch]:
        """`count` times the batch."""
        self.other_s = 0.0
        for number in range(count):
            began = time.process_time()
            self._other(number)
            self.other_s += time.process_time() - began
            yield self.batch


def trainer(rounds: int) -> Comparison:
    """Passes of eight steps of 16 clips; ours guards, meters, reports and looks for a wish to leave."""
    spec = Pretrain.model_validate(
        {"dataset": "noise", "scale": "small", "optim": {"epochs": 1, "schedule": "constant"}}
    )
    size, data = spec.optim.batch, spec.data
    frames = torch.randn(size, 3, data.frames, data.crop, data.crop)
    batch = Batch(frames, torch.randn(size, 1, 257, 99), torch.arange(size))
    objective = build_objective(spec).train()
    bare = copy.deepcopy(objective)
    optimizer = optimizer_of(spec, bare)
    schedule = schedule_of(spec.optim, STEPS)

    def bare_step(number: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = schedule.at(number)
        bare.update_momentum()
        losses = bare.losses(batch, number / STEPS)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        bare.enqueue()

    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), {}) as run:
        run.meter = ProgressMeter(draw=False)
        turns = InTurn(batch, bare_step)
        ours = _trainer(spec, run, objective, turns)

        def both() -> tuple[float, float]:
            ours.step = 0
            began = time.process_time()
            ours.fit()
            return time.process_time() - began - turns.other_s, turns.other_s

        both()
        for (name, mine), theirs in zip(objective.query.named_parameters(), bare.query.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, msg=name)
        times = [both() for _ in range(rounds)]
        return comparison("trainer over a bare loop", times, work=STEPS, unit="steps/s")


def _trainer(spec: Pretrain, run: Run, objective: Cmac, loader: InTurn) -> Trainer:
    def seen(raw: Any) -> Batch:
        return cast(Batch, raw)

    return Trainer(
        run=run,
        ranks=Ranks(Place(), lambda ended: None),
        objective=objective,
        optimizer=optimizer_of(spec, objective),
        schedule=schedule_of(spec.optim, STEPS),
        loader=cast(Loader, loader),
        sampler=Sampler(STEPS * spec.optim.batch, spec.optim.batch, 0),
        views=cast(Views, seen),
        saving=Saving(run, spec.checkpoints, "noise"),
        precision="fp32",
        clips=spec.optim.batch,
        pace=pace_of(STEPS, STEPS, STEPS * spec.optim.batch, 0.0),
    )
