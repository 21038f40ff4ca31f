"""All of a training's state, to a checkpoint and back: going on is the same as never having stopped."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cmac_core.specs.differences import READING
from cmac_core.specs.jobs import Finetune, Pretrain
from cmac_core.training.agreement import gathered
from cmac_core.training.checkpoint import State, misfits, spec_of
from cmac_core.training.errors import UserError
from cmac_core.training.generators import generators_state, restore_generators
from cmac_core.training.run import versions

if TYPE_CHECKING:
    from cmac_core.training.trainer import Trainer

# What a run may change between two attempts without being another training.
FREE = ("name", "preset", "scale", "resources", "queue", "checkpoints")
RUNNING = ("running_mean", "running_var")


def collect(trainer: "Trainer") -> State:
    """The state of all ranks, on every rank; what is the same on all of them is this rank's."""
    objective = {name: _to_host(value) for name, value in trainer.objective.state_dict().items()}
    running = {name: value for name, value in objective.items() if name.endswith(RUNNING)}
    own = {
        "generators": generators_state(trainer.run.device),
        "running": running,  # batch norm's moving averages are each rank's own
        "now": trainer.now.state(),
        "this_pass": trainer.this_pass.state(),
    }
    ranks = gathered(own)
    objective |= {name: torch.stack([rank["running"][name] for rank in ranks]).mean(0) for name in running}
    position = trainer.sampler.at(trainer.step)
    return {
        "format": trainer.objective.FORMAT,
        "spec": trainer.objective.spec.model_dump(mode="json"),
        "step": trainer.step,
        "train_epoch": trainer.train_epoch,
        "position": {"seed": trainer.sampler.seed, "train_epoch": position.train_epoch, "batch": position.batch},
        "world_size": len(ranks),
        "objective": objective,
        "encoders": _encoders(objective, trainer.objective.ENCODERS),
        "optimizer": _to_host(trainer.optimizer.state_dict()),
        "lr": trainer.schedule.at(max(trainer.step - 1, 0)),
        "ranks": ranks,
        "last_pass": trainer.last_pass,
        "history": trainer.history.state(),
        "guard": {"streak": int(trainer.streak), "skipped": int(trainer.skipped)},
        "broken": sorted(trainer.broken),
        "seconds": trainer.seconds,
        "init": trainer.init,
        "norm": trainer.norm,
        "mel": dict(zip(("mean", "std"), trainer.views.mel, strict=True)),
        "dataset": trainer.loader.dataset.summary.manifest_sha256,
        "versions": versions(),
    }


def restore(trainer: "Trainer", state: State) -> None:
    """Go on from `collect`. Bit-equal with as many ranks as before; with more or fewer equal to rounding."""
    device, rank = trainer.run.device, trainer.run.rank
    same = state["world_size"] == trainer.run.world_size
    own = state["ranks"][rank] if same else None
    objective = state["objective"] | (own["running"] if own else {})
    if faults := misfits(trainer.objective, objective):
        raise UserError(f"resume: the checkpoint is of another architecture: {'; '.join(faults[:3])}")
    trainer.objective.load_state_dict(objective)
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.step, trainer.seconds, trainer.init = state["step"], state["seconds"], state.get("init")
    trainer.last_pass, trainer.broken = state["last_pass"], set(state["broken"])
    trainer.history.restore(state["history"])
    trainer.streak.fill_(state["guard"]["streak"])
    trainer.skipped.fill_(state["guard"]["skipped"])
    if own:
        restore_generators(own["generators"], device)
        trainer.now.restore(own["now"])
        trainer.this_pass.restore(own["this_pass"])
    else:
        # Means over ranks, of which every rank now has the whole.
        trainer.now.restore(_mean_meters([one["now"] for one in state["ranks"]]))
        trainer.this_pass.restore(_mean_meters([one["this_pass"] for one in state["ranks"]]))


def check_same(spec: Pretrain | Finetune, state: State, manifest_sha256: str) -> None:
    """Raises UserError, naming each field, when the checkpoint is of another training than the spec's."""
    # A pretraining's is read as a spec first: what an older version did not know has its default.
    body = spec_of(state).model_dump(mode="json") if isinstance(spec, Pretrain) else state["spec"]
    before, now = science(body), science(spec.model_dump(mode="json"))
    changed = [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in now if before.get(name) != now[name]
    ]
    if state["dataset"] != manifest_sha256:
        changed.append(f"the dataset's manifest was {state['dataset'][:12]}…, now {manifest_sha256[:12]}…")
    if changed:
        raise UserError(
            "resume: the checkpoint is of another training: " + "; ".join(changed[:5]),
            "Go on with the spec of the checkpoint, or start anew in an empty folder.",
        )


def science(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a spec that make a training what it is, flat, with dotted names."""
    flat = _flat({name: value for name, value in body.items() if name not in FREE})
    return {name: value for name, value in flat.items() if name not in READING}


def spec_sha256(spec: Pretrain | Finetune) -> str:
    """A short name for what a spec asks of a training."""
    text = json.dumps(science(spec.model_dump(mode="json")), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _encoders(objective: dict[str, Any], prefix: str) -> dict[str, dict[str, Tensor]]:
    """The trained encoders' weights by modality, in torchvision's names; they share the objective's memory."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in objective.items():
        if name.startswith(prefix):
            modality, own = name.removeprefix(prefix).split(".", 1)
            found.setdefault(modality, {})[own] = value
    return found


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in body.items():
        nested = isinstance(value, dict)
        flat |= {f"{name}.{inner}": deeper for inner, deeper in _flat(value).items()} if nested else {name: value}
    return flat


def _mean_meters(states: list[dict[str, Any]]) -> dict[str, Any]:
    return {**states[0], "sums": torch.stack([state["sums"] for state in states]).mean(0)}


def _to_host(value: Any) -> Any:
    """Tensors on the CPU, in memory of their own: training may go on while they are written."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _to_host(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_host(inner) for inner in value]
    return value
