"""What a file of encoders says of itself: their networks, what they were shown, and where they come from."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cmac_core.specs.clips import AudioFrontEnd, ChannelMean, ChannelStd
from cmac_core.specs.method import Model
from cmac_core.training.checkpoint import IMPORTED, State, spec_of

ENCODERS_FORMAT: Literal["cmac-lab/encoders/1"] = "cmac-lab/encoders/1"


class Part(BaseModel):
    """Frozen; what a later version adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Pixels(Part):
    """Frames are (x - mean) / std of pixels in [0, 1]."""

    mean: ChannelMean = 0.45
    std: ChannelStd = 0.225


class MelScale(Part):
    """Pictures of sound are (x - mean) / std; None where there is no sound, or the evaluated dataset's are taken."""

    mean: float | None = None
    std: float | None = None


class Notes(Part):
    """The metadata of an exported file, one JSON object."""

    format: Literal["cmac-lab/encoders/1"] = ENCODERS_FORMAT
    model: Model
    audio: AudioFrontEnd
    pixels: Pixels
    mel: MelScale
    origin: dict[str, Any]


def notes_of(state: State) -> Notes:
    """Of a checkpoint, trained here or imported."""
    if state["format"] == IMPORTED:
        return Notes.model_validate({name: state[name] for name in ("model", "audio", "pixels", "mel", "origin")})
    spec = spec_of(state)
    origin = {
        "objective": spec.objective,
        "preset": spec.preset,
        "scale": spec.scale,
        "dataset": spec.dataset,
        "dataset_manifest": state["dataset"],
        "seed": spec.seed,
        "step": state["step"],
        "train_epochs": state["train_epoch"],
        "init": state.get("init"),
        "versions": state["versions"],
    }
    return Notes(
        model=spec.model,
        audio=spec.audio,
        pixels=Pixels(mean=spec.data.mean, std=spec.data.std),
        mel=MelScale(**state["mel"]),
        origin=origin,
    )
