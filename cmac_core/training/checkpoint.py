"""What a checkpoint holds, and how evaluations and trainings read it. Plain containers and tensors: `weights_only`."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from cmac_core.models.encoders import build_audio, build_video
from cmac_core.objectives.cmac import Cmac, build_objective
from cmac_core.specs.clips import AudioFrontEnd, ClipSampling
from cmac_core.specs.jobs import Pretrain
from cmac_core.specs.method import Model
from cmac_core.training.checkpoint_files import Stored, sidecar_of
from cmac_core.training.errors import UserError

FORMAT = Cmac.FORMAT
IMPORTED = "cmac-lab/weights/1"  # encoders alone, with what is known of how they were made
State = dict[str, Any]


@dataclass(frozen=True)
class TrainedEncoders:
    """Frozen encoders in eval mode, on the CPU, and what their input has to look like."""

    video: nn.Module | None  # frames (B, 3, T, H, W) -> (B, 8 width, T', H', W')
    audio: nn.Module | None  # pictures (B, 1, F, T) -> (B, 8 width, F', T')
    spec: Pretrain | None  # of the pretraining; None for encoders that were never trained, or elsewhere
    mel_mean: float | None  # None: those of the dataset that is evaluated
    mel_std: float | None
    step: int = 0
    train_epoch: float = 0.0
    sha256: str | None = None
    model: Model = field(default_factory=Model)
    front_end: AudioFrontEnd = field(default_factory=AudioFrontEnd)
    pixels: ClipSampling = field(default_factory=ClipSampling)  # its mean and std
    origin: dict[str, Any] = field(default_factory=dict)  # of imported weights: layout, file, sha256


def read_state(path: Path, formats: Sequence[str] = (FORMAT,)) -> State:
    """The state in a checkpoint's file, on the CPU. Raises UserError when it is damaged or something else."""
    sidecar = sidecar_of(path)
    if sidecar is not None and (fault := Stored(path.parent, sidecar).fault()):
        raise UserError(f"checkpoint: {path} {fault}", "It was damaged or changed; use another checkpoint.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        told = str(error).partition("\n")[0] or "it ends too early"
        message = f"checkpoint: {path} is not a checkpoint that can be read: {told}"
        raise UserError(message, "Give the state.pt of a pretraining.") from error
    found = state.get("format") if isinstance(state, dict) else type(state).__name__
    if found == IMPORTED and IMPORTED not in formats:
        message = f"checkpoint: {path} holds imported weights, which are encoders alone"
        raise UserError(message, "Give the state.pt of a pretraining.")
    if found not in formats:
        kind = formats[0].split("/")[1]
        raise UserError(
            f"checkpoint: {path} holds {found!r}, expected {formats[0]!r}", f"Give the state.pt of a {kind} job."
        )
    return state


def spec_of(state: State) -> Pretrain:
    """The spec with which a checkpoint was trained."""
    try:
        return Pretrain.model_validate(state["spec"])
    except ValidationError as error:
        message = f"checkpoint: its spec is not one of this version: {error.errors(include_url=False)[0]['msg']}"
        raise UserError(message, f"It was written by {state.get('versions')}.") from error


def load_encoders(path: Path) -> TrainedEncoders:
    """The query encoders of a checkpoint. Raises UserError: damaged, of another format, other architecture."""
    state = read_state(path, (FORMAT, IMPORTED))
    spec = spec_of(state) if state["format"] == FORMAT else None
    model, front_end, pixels = (spec.model, spec.audio, spec.data) if spec else _shown_to(state)
    built = {"video": build_video, "audio": build_audio}
    encoders = {name: loaded(built[name](model), weights, name) for name, weights in state["encoders"].items()}
    sidecar = sidecar_of(path)
    return TrainedEncoders(
        encoders.get("video"),
        encoders.get("audio"),
        spec,
        state["mel"]["mean"],
        state["mel"]["std"],
        step=state["step"],
        train_epoch=state["train_epoch"],
        sha256=sidecar.sha256 if sidecar else None,
        model=model,
        front_end=front_end,
        pixels=pixels,
        origin=state.get("origin", {}),
    )


def _shown_to(state: State) -> tuple[Model, AudioFrontEnd, ClipSampling]:
    """What imported encoders are, and what they were shown."""
    try:
        return (
            Model.model_validate(state["model"]),
            AudioFrontEnd.model_validate(state["audio"]),
            ClipSampling.model_validate(state["pixels"]),
        )
    except ValidationError as error:
        message = f"checkpoint: it is not one of this version: {error.errors(include_url=False)[0]['msg']}"
        raise UserError(message, f"Import the weights again; it was written by {state.get('versions')}.") from error


def random_encoders(model: Model, seed: int) -> TrainedEncoders:
    """Encoders as a pretraining with this seed would begin with: the baseline beside every score."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TrainedEncoders(build_video(model).eval(), build_audio(model).eval(), None, None, None, model=model)


def load_query(path: Path) -> Cmac:
    """The whole objective of a checkpoint in eval mode: its query has encoders, g, heads and saliency."""
    state = read_state(path)
    objective = build_objective(spec_of(state))
    return loaded(objective, state["objective"], "objective")


def loaded(module: Any, weights: Mapping[str, Any], what: str) -> Any:
    """`module` with these weights, in eval mode. Raises UserError naming the first few that do not fit."""
    faults = misfits(module, weights)
    if faults:
        raise UserError(
            f"checkpoint: the weights of {what} are of another architecture: {'; '.join(faults[:3])}"
            + (f"; and {len(faults) - 3} more" if len(faults) > 3 else ""),
            "The spec inside a checkpoint and its weights belong together; this file was put together by hand.",
        )
    module.load_state_dict(weights)
    return module.eval()


def misfits(module: nn.Module, weights: Mapping[str, Any]) -> list[str]:
    """What was found and what was expected, tensor by tensor, where they differ."""
    expected = module.state_dict()
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is unknown" for name in weights if name not in expected]
    return faults + [
        f"{name} is {tuple(found.shape)}, expected {tuple(expected[name].shape)}"
        for name, found in weights.items()
        if isinstance(found, Tensor) and name in expected and found.shape != expected[name].shape
    ]
