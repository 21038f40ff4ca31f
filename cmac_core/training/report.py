"""What a finished training says of itself: the values of its last pass, and its curves."""

import math
import re
from pathlib import Path
from typing import Any

from cmac_core.data.eligible import Eligible
from cmac_core.events import Result, Value
from cmac_core.objectives.cmac import Cmac
from cmac_core.training.checkpoint import State
from cmac_core.training.precision import resolve
from cmac_core.training.trainer import Trainer
from cmac_core.weights.card import publish_card, trained_card
from cmac_core.weights.export import publish_encoders
from cmac_core.weights.notes import notes_of

ARTIFACTS = "artifacts"
SHARES = ("contrast/top1_", "contrast/top5_", "accuracy")
# The rest of what is metered is for the curves.
TOLD = re.compile(r"loss|(contrast|partner|attention)/[va]|contrast/top[15]_[va]|cosine/\w+|accuracy")
LOSSES = re.compile(r"loss|(contrast|partner|attention)/[va]")
AGREEMENT = re.compile(r"contrast/top1_[va]|cosine/\w+|accuracy")


def publish(trainer: Trainer, shown: Eligible, state: State) -> None:
    """Write the result, the plot of the losses, and the encoders of the last state with their card (rank 0)."""
    if trainer.run.rank != 0:
        return
    keep_plot(trainer)
    _export(trainer, state)
    left_out = {name: n for name, n in shown._asdict().items() if name != "indices"}
    protocol = common_protocol(trainer) | {"clips": len(shown.indices), "left_out": left_out}
    trainer.run.emit(Result(values=tuple(common_values(trainer)), protocol=protocol, lineage=_lineage(trainer)))


def keep_plot(trainer: Trainer) -> None:
    """Publish the curves of a training."""
    path = Path(ARTIFACTS) / "losses.png"
    if trainer.history.points:
        plot(trainer.history.points, trainer.run.folder / path)
        trainer.run.artifact("losses", "plot", "image/png", path, {"steps": trainer.step})


def _export(trainer: Trainer, state: State) -> None:
    objective = trainer.objective
    assert isinstance(objective, Cmac), "of a pretraining"
    notes = notes_of(state)
    publish_encoders(trainer.run, state["encoders"], notes, trainer.step)
    networks = objective.query.encoders.items()
    parameters = {name: sum(value.numel() for value in network.parameters()) for name, network in networks}
    publish_card(trainer.run, trained_card(objective.spec, notes, parameters))


def common_values(trainer: Trainer, split: str | None = None) -> list[Value]:
    """Means over the last pass, with shares in percent, and how fast the training was."""
    n = trainer.sampler.steps * trainer.clips
    values = []
    for name, value in trainer.last_pass.items():
        name = "loss" if name == "total" else name
        if not math.isfinite(value) or not TOLD.fullmatch(name):
            continue
        share = name.startswith(SHARES)
        value, unit = (100 * value, "%") if share else (value, "")
        values.append(Value(name=name, value=value, unit=unit, n=n, split=split, selection="last"))
    done = trainer.step * trainer.clips
    values.append(Value(name="seconds", value=trainer.seconds, unit="s", n=done))
    if trainer.seconds:
        values.append(Value(name="clips_per_s", value=done / trainer.seconds, unit="clips/s", n=done))
    return values


def common_protocol(trainer: Trainer) -> dict[str, Any]:
    """What can be said of any training."""
    return {
        "steps": trainer.step,
        "train_epochs": trainer.train_epoch,
        "clips_in_a_step": trainer.clips,
        "broken": len(trainer.broken),
        "skipped_steps": int(trainer.skipped),
        "world_size": trainer.run.world_size,
        "device": trainer.run.device.type,
        "precision": resolve(trainer.precision, trainer.run.device),
        "norm": trainer.norm,
    }


def _lineage(trainer: Trainer) -> dict[str, Any]:
    init = {} if trainer.init is None else {"init": trainer.init}
    return {
        **init,
        "dataset_manifest": trainer.loader.dataset.summary.manifest_sha256,
        "checkpoint_step": trainer.step,
        "seed": trainer.sampler.seed,
    }


def plot(points: list[tuple[int, dict[str, float]]], path: Path) -> None:
    """The loss and its parts, and how well clips are told apart, over the steps."""
    from matplotlib.figure import Figure  # slow to import, and needed once

    figure = Figure(figsize=(9, 6), layout="constrained")
    losses, agreement = figure.subplots(2, 1, sharex=True)
    steps = [step for step, _ in points]
    for axis, wanted, label in ((losses, LOSSES, "loss"), (agreement, AGREEMENT, "cosine, share")):
        for name in filter(wanted.fullmatch, points[0][1]):
            axis.plot(steps, [values.get(name, math.nan) for _, values in points], label=name, linewidth=1)
        axis.set_ylabel(label)
        if axis.lines:
            axis.legend(fontsize="small")
    agreement.set_xlabel("step")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
