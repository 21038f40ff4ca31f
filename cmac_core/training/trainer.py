"""The one training loop: steps, reports, checkpoints, and leaving when asked."""

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cmac_core.data.loader import Loader
from cmac_core.data.sampler import Sampler
from cmac_core.events import Metrics, Replaced, finite
from cmac_core.objectives.base import Objective
from cmac_core.objectives.batch import Batch
from cmac_core.specs.jobs import Precision
from cmac_core.training.agreement import Agreement, gathered
from cmac_core.training.checkpoint import State
from cmac_core.training.errors import DataError, Diverged, Left
from cmac_core.training.kernels import LIBRARY
from cmac_core.training.meters import History, Meters
from cmac_core.training.precision import autocast
from cmac_core.training.ranks import Ranks
from cmac_core.training.run import Run
from cmac_core.training.saving import Saving
from cmac_core.training.schedule import Schedule
from cmac_core.training.state import collect
from cmac_core.training.views import Views


class Pace(NamedTuple):
    """When to report and when to give up."""

    report_steps: int  # steps between two reports, at which alone the device is waited for
    bad_steps: int  # non-finite steps in a row that end the run
    bad_clips: int  # different broken clips that end the run


def pace_of(steps: int, total: int, clips: int, max_bad_share: float) -> Pace:
    """For passes of `steps` steps, `total` in all. A share of broken clips above zero allows for one at least."""
    return Pace(
        report_steps=min(10, max(1, steps // 8)),
        bad_steps=min(20, max(3, total // 4)),
        bad_clips=max(1, int(max_bad_share * clips)) if max_bad_share else 0,
    )


@dataclass
class Trainer:
    """Everything that a training needs, and where it stands."""

    run: Run
    ranks: Ranks
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loader: Loader
    sampler: Sampler
    views: Views
    saving: Saving
    precision: Precision
    clips: int  # in a step over all ranks
    pace: Pace
    step: int = 0
    broken: set[int] = field(default_factory=set)
    seconds: float = 0.0  # spent in training, over all attempts
    norm: str = LIBRARY  # how batch norm is computed
    init: dict[str, Any] | None = None  # what was taken from the checkpoint of spec.init

    def __post_init__(self) -> None:
        device = self.run.device
        self.now, self.this_pass = Meters(device), Meters(device)  # since the last report; since the pass began
        self.last_pass: dict[str, float] = {}
        self.history = History()
        self.streak = torch.zeros((), device=device, dtype=torch.int64)
        self.skipped = torch.zeros((), device=device, dtype=torch.int64)
        self._agreement = Agreement(2)
        self._reported_at, self._reported_step = time.perf_counter(), self.step

    def fit(self) -> None:
        """Train to the end. Raises Left, Diverged, DataError, DiskFull."""
        self._reported_at, self._reported_step = time.perf_counter(), self.step
        with self.saving:
            for raw in self.loader.batches(self.sampler.at(self.step), self.schedule.total_steps - self.step):
                self.train_step(self.views(raw))
                self.step += 1
                self._after_step()
        self._agreement.close()

    def _after_step(self) -> None:
        self.run.progress("train", self.step, self.schedule.total_steps, "clips", self.clips)
        pass_ends = self.step % self.sampler.steps == 0
        if pass_ends or self.step % self.pace.report_steps == 0:
            self._report()
        if pass_ends:
            self.last_pass = self.this_pass.read()
            self.this_pass.reset()
        self._at_boundary(pass_ends)

    def train_step(self, batch: Batch) -> None:
        """One step in METHOD 5's order. A step whose gradient is not finite changes no weight, on any rank."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(self.step) * group.get("lr_mult", 1.0)
        self.objective.begin_step()
        with autocast(self.precision, self.run.device):
            losses = self.objective.losses(batch, self.train_epoch)
        self.optimizer.zero_grad()
        losses["total"].backward()
        norm = self._gradient_norm()
        good = self._judge(norm)
        self.optimizer.step()
        self.objective.end_step()
        values = losses | {"grad_norm": norm}
        self.now.add(values, good)
        self.this_pass.add(values, good)

    @property
    def train_epoch(self) -> float:
        """Passes over the data that are done."""
        return self.step / self.sampler.steps

    def _gradient_norm(self) -> Tensor:
        gradients = [p.grad for p in self.objective.trained() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def _judge(self, norm: Tensor) -> Tensor:
        """Whether the step counts. Gradients are the same on all ranks, so they agree; nothing is read here."""
        good = norm.isfinite()
        self.streak = torch.where(good, 0, self.streak + 1)
        self.skipped += ~good
        # The fused optimizer's own switch, made for loss scaling: it leaves weights and momentum as they are.
        self.optimizer.found_inf = (~good).float()  # type: ignore[attr-defined]
        return good

    def _report(self) -> None:
        """Read the meters (the one place that waits for the device), tell the world, give up if it is hopeless."""
        values = self.now.read()
        self.now.reset()
        streak, skipped = int(self.streak), int(self.skipped)
        self._take_replaced()
        now = time.perf_counter()
        elapsed, steps = now - self._reported_at, self.step - self._reported_step
        self.seconds += elapsed
        speed = {"clips_per_s": steps * self.clips / elapsed, "data_wait": self.loader.waited / elapsed}
        self._reported_at, self._reported_step, self.loader.waited = now, self.step, 0.0
        told = {"loss": values.pop("total"), **values, "lr": self.schedule.at(self.step - 1), "skipped": skipped}
        self.history.add(self.step, {name: told[name] for name in told if name not in _LEFT_OUT})
        self.run.emit(Metrics(step=self.step, train_epoch=self.train_epoch, values=finite(told | speed)))
        self.run.meter.note = f"loss {told['loss']:.3f}"
        if streak >= self.pace.bad_steps:
            raise Diverged(
                f"the gradient was not finite in {streak} steps in a row, up to step {self.step} (lr {told['lr']:.3g})",
                "Lower optim.lr, lengthen optim.warmup_epochs, or set precision to fp32.",
            )

    def _take_replaced(self) -> None:
        """Make known which clips were replaced on any rank. Raises DataError when they are too many."""
        mine, self.loader.replaced = self.loader.replaced, []
        everyone = gathered([event.model_dump() for event in mine])
        for row in (row for rows in everyone for row in rows):
            event = Replaced.model_validate(row)
            self.broken.add(event.index)
            self.run.emit(event)
        if len(self.broken) > self.pace.bad_clips:
            raise DataError(
                f"{len(self.broken)} clips of {len(self.loader.eligible)} cannot be read, more than "
                f"data.max_bad_share allows ({self.pace.bad_clips})",
                "Pack the dataset again, or raise data.max_bad_share.",
            )

    def _at_boundary(self, pass_ends: bool) -> None:
        """Save when it is time; save and leave when any rank was asked to. All ranks decide alike."""
        leave, due = self._agreement.exchange(self.run.leaving, self.saving.due())
        if self.step == self.schedule.total_steps:
            return
        if leave:
            self._agreement.close()
            self._save(last=True)
            raise Left
        if due or (pass_ends and self.saving.plan.due_after(self.step // self.sampler.steps)):
            self._save()

    def finish(self) -> State:
        """Save the finished training, and return what was saved. Raises DiskFull when it cannot be kept."""
        return self._save(last=True)

    def _save(self, last: bool = False) -> State:
        assert self.objective.ranks_agree(), "ranks have different queues"
        state = collect(self)
        if last:
            self.ranks.part()  # nobody waits in a collective while rank 0 writes
        self.saving.save(state, must=last)
        return state


_LEFT_OUT = ("queue/age", "skipped")
