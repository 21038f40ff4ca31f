"""A file of weights as tensors by name, whoever wrote it. Nothing in it is run (API 9.6)."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cmac_core.training.checkpoint import FORMAT, IMPORTED
from cmac_core.training.errors import UserError
from cmac_core.weights.notes import Notes, notes_of

NOTES = "cmac_lab"  # key of a safetensors file's metadata
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
WRAPPER = "module."  # DataParallel's
_OBJECT = re.compile(r"GLOBAL ([\w.]+)")


class Found(NamedTuple):
    """Tensors on the CPU by name, and what a file of ours says of itself (None for others')."""

    tensors: dict[str, Tensor]
    notes: Notes | None


def read_weights(file: Path) -> Found:
    """Tensors of a .safetensors file or of one that torch.save wrote (.pt, .pth, .tar).

    Raises UserError when it cannot be read, holds code, or has no tensors.
    """
    try:
        found = _safetensors(file) if file.suffix == ".safetensors" else _torch(file)
    except (SafetensorError, RuntimeError, EOFError, KeyError, ValueError, OSError, ImportError) as error:
        told = str(error).partition("\n")[0] or "it ends too early"
        message = f"source: {file.name} is no file of weights that can be read: {told}"
        raise UserError(message, "Give a .safetensors file, or one that torch.save wrote.") from error
    if not found.tensors:
        raise UserError(f"source: {file.name} holds no tensors by name", "Give a file with a state dict.")
    return found


def _safetensors(file: Path) -> Found:
    with safe_open(file, framework="pt") as opened:
        said = (opened.metadata() or {}).get(NOTES)
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no dict)
    return Found(_unwrapped(tensors), None if said is None else Notes.model_validate_json(said))


def _torch(file: Path) -> Found:
    try:
        # The arguments of a script, which many files hold: a plain record, whose reading runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _OBJECT.search(str(error))
        what = f"holds {named.group(1)}" if named else "is damaged, or holds more than tensors"
        hint = "Where you trust it, load it by hand, torch.save its state dict alone, and import that file."
        raise UserError(f"source: {file.name} {what}; only tensors and plain values are read", hint) from error
    if isinstance(found, dict) and found.get("format") in (FORMAT, IMPORTED):
        return _ours(found)
    return Found(_unwrapped(_state_dict(found)), None)


def _ours(state: dict[str, Any]) -> Found:
    """A checkpoint of this project, as its export would have told it."""
    tensors = {
        f"{modality}.{name}": value for modality, own in state["encoders"].items() for name, value in own.items()
    }
    return Found(tensors, notes_of(state))


def _state_dict(found: Any) -> dict[str, Tensor]:
    """The tensors of a dict, or of the one that it wraps."""
    while isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        found = next((found[name] for name in CONTAINERS if isinstance(found.get(name), Mapping)), None)
    return {}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and all(name.startswith(WRAPPER) for name in tensors):
        tensors = {name.removeprefix(WRAPPER): value for name, value in tensors.items()}
    return tensors
