"""What a run reads and where it lies: inputs.json, beside the spec. No torch here."""

import json
from pathlib import Path
from typing import assert_never

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cmac_core.data.manifest import MANIFEST, sha256_of
from cmac_core.specs import (
    Attention,
    Finetune,
    Import,
    JobSpec,
    Pack,
    Pretrain,
    Probe,
    RandomInit,
    Retrieval,
    SoundingObjects,
)
from cmac_core.specs.references import CHECKPOINT, DATASET, OUTPUT, PACKED, RESUME, SOURCE, WEIGHTS
from cmac_core.training.errors import UserError

INPUTS_FILE = "inputs.json"


class Input(BaseModel):
    """Something a run reads or writes into. `sha256` is a file's, or that of a dataset's manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str | None = None


Inputs = dict[str, Input]
_INPUTS: TypeAdapter[Inputs] = TypeAdapter(Inputs)


def read_inputs(file: Path) -> Inputs:
    """The inputs by key; relative paths start at the file's folder. No file is no inputs. Raises UserError."""
    try:
        inputs = _INPUTS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {where}: {first['msg']}", _example(("dataset",))) from error
    return {key: value.model_copy(update={"path": file.parent / value.path}) for key, value in inputs.items()}


def needed(spec: JobSpec) -> tuple[str, ...]:
    """The keys without which a job of this spec cannot start."""
    match spec:
        case Pack():
            source = () if isinstance(spec.source, SoundingObjects) else (SOURCE,)
            return (*source, OUTPUT, *(f"{PACKED}{number}" for number in range(len(spec.merge))))
        case Import():
            return (WEIGHTS,)
        case Pretrain():
            return (DATASET,) if spec.init is None else (DATASET, CHECKPOINT)
        case Retrieval() | Probe() | Attention() | Finetune():
            return (DATASET,) if isinstance(spec.checkpoint, RandomInit) else (DATASET, CHECKPOINT)
        case _:
            assert_never(spec)


def check_inputs(spec: JobSpec, inputs: Inputs, file: Path) -> None:
    """Raises UserError, naming the keys, when the spec needs inputs that the file does not give."""
    missing = [key for key in needed(spec) if key not in inputs]
    if isinstance(spec, Pretrain) and RESUME in inputs:
        missing = [key for key in missing if key != CHECKPOINT]  # what goes on does not start again
    if missing:
        found = f"{file} does not name" if file.exists() else f"there is no {file}, which should name"
        raise UserError(f"{spec.kind}: {found} {' and '.join(missing)}", _example(needed(spec)))


def located(key: str, inputs: Inputs) -> Path:
    """Path of an input that exists and has the hash it should have. Raises UserError otherwise."""
    if key not in inputs:
        raise UserError(f"this run was given no {key}", _example((key,)))
    path, expected = inputs[key].path, inputs[key].sha256
    if not path.exists():
        raise UserError(f"{key}: {path} does not exist", f"Correct its path in {INPUTS_FILE}.")
    if expected is not None:
        _check_hash(key, path, expected)
    return path


def _check_hash(key: str, path: Path, expected: str) -> None:
    file = path / MANIFEST if path.is_dir() else path
    if not file.exists():
        raise UserError(f"{key}: {path} holds no {MANIFEST}", "Give the folder of a packed dataset.")
    found = sha256_of(file)
    if found != expected:
        raise UserError(
            f"{key}: {file} has sha256 {found[:16]}…, expected {expected[:16]}…",
            "The file was changed, or another one was meant.",
        )


def _example(keys: tuple[str, ...]) -> str:
    body = {key: {"path": f"/path/to/{key}", "sha256": None} for key in keys}
    return f"Write {INPUTS_FILE} beside the spec (or name one with --inputs): {json.dumps(body)}"
