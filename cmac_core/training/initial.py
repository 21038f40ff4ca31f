"""Networks that a training starts from instead of its seed: `pretrain.init`. Going on (resume) is something else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cmac_core.data.manifest import sha256_of
from cmac_core.objectives.cmac import Cmac
from cmac_core.objectives.momentum import key_model
from cmac_core.specs.clips import AudioFrontEnd, ClipSampling
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.checkpoint import FORMAT, IMPORTED, State, misfits, read_state, spec_of
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run

QUERY = "query."
PARTS = ("filters", "heads", "saliency")  # what grows on the encoders: g, heads, h
HINT = "Set model.width, model.depth and model.stages as the checkpoint has them, or start without init."


def start_from(path: Path, objective: Cmac, run: Run) -> dict[str, Any]:
    """Give the query model the checkpoint's encoders, and what else of it fits; the key model is its copy again.

    Returns what was taken and what was not, for the lineage. Raises UserError, naming the first tensors, when an
    encoder is of another architecture or none is there.
    """
    state = read_state(path, (FORMAT, IMPORTED))
    encoders = {name: objective.query.encoders[name] for name in objective.query.encoders}
    taken = [name for name in encoders if name in state["encoders"]]
    if not taken:
        there = ", ".join(state["encoders"])
        raise UserError(f"init: the checkpoint has {there} alone, and objective {objective.spec.objective} does not")
    for name in taken:
        _must_fit(name, encoders[name], state["encoders"][name])
        encoders[name].load_state_dict(state["encoders"][name])
    parts = _parts(state)
    grown = [(part, name) for part in PARTS for name in getattr(objective.query, part)]
    fitting = [(part, name) for part, name in grown if _fits(getattr(objective.query, part)[name], parts, part, name)]
    for part, name in fitting:
        getattr(objective.query, part)[name].load_state_dict(parts[part][name])
    if objective.key is not None:
        key_model(objective.query, objective.key)
    told = {
        "checkpoint_sha256": sha256_of(path),
        "taken": [*(f"encoders.{name}" for name in taken), *(f"{part}.{name}" for part, name in fitting)],
        "from_seed": [
            *(f"encoders.{name}" for name in encoders if name not in taken),
            *(f"{part}.{name}" for part, name in grown if (part, name) not in fitting),
        ],
    }
    from_seed = ", ".join(told["from_seed"]) or "nothing"
    run.warn("init", f"starts from the checkpoint: {', '.join(told['taken'])}; from the seed: {from_seed}")
    _compare_inputs(state, taken, objective.spec, run)
    return told


def _must_fit(name: str, encoder: nn.Module, weights: Mapping[str, Tensor]) -> None:
    faults = misfits(encoder, weights)
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        message = f"init: the checkpoint's {name} encoder is of another architecture: {'; '.join(faults[:3])}{more}"
        raise UserError(message, HINT)


def _parts(state: State) -> dict[str, dict[str, dict[str, Tensor]]]:
    """part -> name -> tensors, of a checkpoint that was trained here; nothing of imported encoders."""
    found: dict[str, dict[str, dict[str, Tensor]]] = {part: {} for part in PARTS}
    for name, value in state.get("objective", {}).items():
        part, _, own = name.removeprefix(QUERY).partition(".")
        if name.startswith(QUERY) and part in PARTS:
            which, _, tensor = own.partition(".")
            found[part].setdefault(which, {})[tensor] = value
    return found


def _fits(module: nn.Module, parts: Mapping[str, Mapping[str, Mapping[str, Tensor]]], part: str, name: str) -> bool:
    return name in parts[part] and not misfits(module, parts[part][name])


def _compare_inputs(state: State, taken: list[str], spec: Pretrain, run: Run) -> None:
    """Say where the checkpoint's encoders were shown something else than they will be now."""
    if state["format"] == FORMAT:
        before = spec_of(state)
        pixels, audio = before.data, before.audio
    else:
        pixels, audio = ClipSampling.model_validate(state["pixels"]), AudioFrontEnd.model_validate(state["audio"])
    told = []
    if "video" in taken and (pixels.mean, pixels.std) != (spec.data.mean, spec.data.std):
        told.append(f"frames normalised by {pixels.mean} and {pixels.std} (data.mean, data.std)")
    sound = {"frontend", "sample_rate", "n_fft", "n_mels", "win", "hop"}
    if "audio" in taken and audio.model_dump(include=sound) != spec.audio.model_dump(include=sound):
        told.append(f"sound as {audio.model_dump(include=sound)} (audio)")
    if told:
        run.warn("init_input", f"the checkpoint's encoders know {' and '.join(told)}; here it is something else")
