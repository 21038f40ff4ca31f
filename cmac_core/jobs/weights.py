"""Import: a file of weights in, a checkpoint out that evaluations and pretrainings may name (METHOD 3.4, RULINGS 9)."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

from cmac_core.data.log_filterbank import GDT_SCALE
from cmac_core.data.manifest import sha256_of
from cmac_core.events import Result, Saved, Value
from cmac_core.retention import CHECKPOINTS
from cmac_core.specs import AudioFrontEnd, Import
from cmac_core.specs.references import WEIGHTS
from cmac_core.training import checkpoint_files
from cmac_core.training.checkpoint import IMPORTED
from cmac_core.training.checkpoint_files import Sidecar
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run, versions
from cmac_core.training.saving import serialized
from cmac_core.weights.card import imported_card, publish_card
from cmac_core.weights.export import publish_encoders
from cmac_core.weights.layouts import Known, Weights, recognise
from cmac_core.weights.notes import MelScale, Notes, Pixels
from cmac_core.weights.reading import read_weights


class Shown(NamedTuple):
    """What a layout's own scripts showed its networks."""

    pixels: Pixels
    audio: AudioFrontEnd
    mel: MelScale
    told: str = ""  # what is assumed of the sound, as weights do not say it


# METHOD 2.2: GDT's Kinetics script has 40 bands and normalises, SeLaVi's has 257 and does not.
SHOWN: dict[Known, Shown] = {
    "torchvision": Shown(
        Pixels(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989)), AudioFrontEnd(), MelScale()
    ),
    "gdt": Shown(
        Pixels(),
        AudioFrontEnd(frontend="gdt", n_mels=40),
        MelScale(mean=GDT_SCALE[0], std=GDT_SCALE[1]),
        "front end gdt with 40 bands, normalised by 1.93 and 17.89, as in GDT's Kinetics script",
    ),
    "selavi": Shown(
        Pixels(),
        AudioFrontEnd(frontend="gdt"),
        MelScale(mean=0.0, std=1.0),
        "front end gdt with 257 bands, not normalised, as in SeLaVi's script",
    ),
}


def run(spec: Import, run: Run) -> None:
    """Read, recognise, check, and leave a checkpoint, its export and its card.

    Raises UserError (not readable, another network, a layout that is not known), Left; nothing is left then.
    """
    file = run.input(WEIGHTS)
    found = read_weights(file)
    weights = recognise(found.tensors, spec.layout, found.notes.model if found.notes else None)
    notes = _notes(spec, weights, found.notes, file)
    _say(run, spec, weights)
    run.leave_if_asked()
    _save(run, spec, weights, notes)
    publish_encoders(run, weights.encoders, notes, step=0)
    parameters = {modality: _parameters(weights, modality) for modality in weights.encoders}
    publish_card(run, imported_card(spec.name, notes, parameters, versions()))
    run.emit(_result(weights, notes, parameters))


def _notes(spec: Import, weights: Weights, said: Notes | None, file: Path) -> Notes:
    """What the file says of itself, else what its layout is known for; the spec has the last word."""
    if said is not None:
        shown = Shown(said.pixels, said.audio, said.mel)
    else:
        shown = SHOWN.get(weights.layout, Shown(Pixels(), AudioFrontEnd(), MelScale()))
    mel = MelScale(**spec.mel.model_dump()) if spec.mel else shown.mel
    if "audio" in weights.encoders and mel.mean is None:
        raise UserError(
            f"mel: {file.name} has a sound encoder and does not say by what its pictures of sound were normalised",
            "Set mel to {mean, std}, as in the dataset.json of the data it was trained on.",
        )
    origin = {
        "layout": weights.layout,
        "file": file.name,
        "sha256": sha256_of(file),
        "left_out": weights.left_out,
        "of": said.origin if said else None,
    }
    return Notes(model=weights.model, audio=spec.audio or shown.audio, pixels=shown.pixels, mel=mel, origin=origin)


def _say(run: Run, spec: Import, weights: Weights) -> None:
    told = SHOWN[weights.layout].told if weights.layout in SHOWN else ""
    if told and spec.audio is None and "audio" in weights.encoders:
        run.warn(
            "front_end_assumed", f"weights do not tell what they listened to; taken: {told}. Set audio, mel if not"
        )
    if weights.left_out:
        groups = ", ".join(f"{name} ({count})" for name, count in weights.left_out.items())
        run.warn("left_out", f"not part of an encoder, and left out: {groups}")
    if missing := {"video", "audio"} - set(weights.encoders):
        run.warn("one_encoder", f"the file has no {missing.pop()} encoder")


def _save(run: Run, spec: Import, weights: Weights, notes: Notes) -> None:
    state = {
        "format": IMPORTED,
        "encoders": weights.encoders,
        **notes.model_dump(mode="json", exclude={"format"}),
        "step": 0,
        "train_epoch": 0.0,
        "versions": versions(),
    }
    data = serialized(state)
    sidecar = Sidecar(
        step=0,
        train_epoch=0.0,
        sha256=checkpoint_files.sha256_of_bytes(data),
        bytes=data.nbytes,
        world_size=1,
        spec_sha256=hashlib.sha256(spec.model_dump_json().encode()).hexdigest(),
        versions=versions(),
    )
    stored = checkpoint_files.write(run.folder / CHECKPOINTS, data, sidecar)
    path = stored.state.relative_to(run.folder).as_posix()
    run.emit(
        Saved(step=0, train_epoch=0.0, path=path, sha256=sidecar.sha256, bytes=sidecar.bytes, kind="weights"),
    )


def _parameters(weights: Weights, modality: str) -> int:
    named = weights.encoders[modality].items()
    return sum(value.numel() for name, value in named if name.endswith(("weight", "bias")))


def _result(weights: Weights, notes: Notes, parameters: dict[str, int]) -> Result:
    """How large the encoders are, and what a service must know of them without opening the file."""
    modalities: tuple[Literal["video", "audio"], ...] = ("video", "audio")
    values = [
        Value(name="parameters", value=parameters[name], unit="", n=len(weights.encoders[name]), modality=name)
        for name in modalities
        if name in parameters
    ]
    model = notes.model.model_dump(mode="json", include={"video", "audio", "width", "depth"})
    protocol = {"layout": weights.layout, "encoders": sorted(weights.encoders), "model": model}
    protocol |= notes.model_dump(mode="json", include={"audio", "pixels", "mel"})
    return Result(values=tuple(values), protocol=protocol, lineage={"imported": notes.origin})
