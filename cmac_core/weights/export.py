"""Encoders as one .safetensors file: torchvision's names behind `video.` and `audio.`, with notes (API 9.6)."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from cmac_core.training.run import Run
from cmac_core.weights.notes import Notes
from cmac_core.weights.reading import NOTES

ENCODERS_FILE = "encoders.safetensors"
ENCODERS_KIND = "encoders"  # of the artifact, by which a service finds the file


def write_encoders(path: Path, encoders: Mapping[str, Mapping[str, Tensor]], notes: Notes) -> None:
    """Write the file, whole or not at all. The same weights and notes give the same bytes. Raises OSError."""
    named = {f"{modality}.{name}": value for modality, own in encoders.items() for name, value in own.items()}
    draft = path.with_name(f".{path.name}.part")
    # One key of metadata alone: several would stand in an order of their own.
    data = save({name: value.contiguous() for name, value in named.items()}, {NOTES: notes.model_dump_json()})
    try:
        with draft.open("wb") as file:  # so a full disk shows as what it is
            file.write(data)
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def publish_encoders(run: Run, encoders: Mapping[str, Mapping[str, Tensor]], notes: Notes, step: int) -> None:
    """Leave the file as the artifact of the checkpoint of this step."""
    path = run.folder / "artifacts" / ENCODERS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_encoders(path, encoders, notes)
    meta = {"step": step, "encoders": sorted(encoders)}
    run.artifact(ENCODERS_FILE, ENCODERS_KIND, "application/octet-stream", path, meta)
