"""Checkpoints as files: step-<n>/state.pt and a sidecar that says what it must be. Whole or not there. No torch."""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from cmac_core.data.manifest import sha256_of
from cmac_core.retention import DRAFT, outdated
from cmac_core.specs.method import Checkpoints

STATE, SIDECAR = "state.pt", "checkpoint.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Sidecar(BaseModel):
    """checkpoint.json: what can be known of a checkpoint without reading it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    train_epoch: float
    sha256: str
    bytes: int
    world_size: int
    spec_sha256: str
    versions: dict[str, str]
    metrics: dict[str, float] = {}


class Stored(NamedTuple):
    """A checkpoint's folder, with its sidecar."""

    folder: Path
    sidecar: Sidecar

    @property
    def state(self) -> Path:
        return self.folder / STATE

    @property
    def train_epoch(self) -> float:
        return self.sidecar.train_epoch

    @property
    def metrics(self) -> dict[str, float]:
        return self.sidecar.metrics

    def fault(self) -> str | None:
        """What is wrong with the state's file; None when it is the one that was written."""
        try:
            size = self.state.stat().st_size
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if size != self.sidecar.bytes:
            return f"has {size} bytes, expected {self.sidecar.bytes}"
        found = sha256_of(self.state)
        return (
            None if found == self.sidecar.sha256 else f"has sha256 {found[:16]}…, expected {self.sidecar.sha256[:16]}…"
        )


def name_of(step: int) -> str:
    """The folder of a step's checkpoint."""
    return f"step-{step:08}"


def sidecar_of(state: Path) -> Sidecar | None:
    """The sidecar beside a state; None when there is none that can be read."""
    try:
        return Sidecar.model_validate_json((state.parent / SIDECAR).read_bytes())
    except (OSError, ValidationError):
        return None


def stored(folder: Path) -> list[Stored]:
    """The finished checkpoints below `folder`, oldest first."""
    found = [(path, sidecar_of(path / STATE)) for path in sorted(folder.glob("step-*")) if path.suffix != DRAFT]
    return sorted((Stored(path, sidecar) for path, sidecar in found if sidecar), key=lambda one: one.sidecar.step)


def write(folder: Path, data: memoryview, sidecar: Sidecar) -> Stored:
    """Put a checkpoint in its place: draft, fsync, rename, fsync. Raises OSError, and then leaves nothing behind."""
    final = folder / name_of(sidecar.step)
    draft = folder / f"{final.name}{DRAFT}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        _write_through(draft / STATE, data)
        _write_through(draft / SIDECAR, memoryview(sidecar.model_dump_json(indent=1).encode()))
        _sync(draft)
        shutil.rmtree(final, ignore_errors=True)  # an older one of the same step, which did not verify
        draft.rename(final)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(folder)
    return Stored(final, sidecar)


def prune(folder: Path, plan: Checkpoints, passes: int) -> None:
    """Remove what `plan` does not keep of a training over `passes` passes; the newest that verifies stays anyway."""
    found = stored(folder)
    for old in _without_the_last_good(outdated(found[::-1], plan, passes), found):
        shutil.rmtree(old.folder, ignore_errors=True)


def drop_oldest(folder: Path) -> bool:
    """Make room: remove the oldest checkpoint, unless it is the last one that verifies. False: nothing to remove."""
    found = stored(folder)
    spare = _without_the_last_good(found[:-1], found)
    if spare:
        shutil.rmtree(spare[0].folder, ignore_errors=True)
    return bool(spare)


def _without_the_last_good(some: list[Stored], found: list[Stored]) -> list[Stored]:
    """Without the newest that verifies; files are read only when there is something to remove."""
    good = next((one for one in reversed(found) if one.fault() is None), None) if some else None
    return [one for one in some if one is not good]


def sha256_of_bytes(data: memoryview) -> str:
    """Hex sha256 of what is about to be written."""
    return hashlib.sha256(data).hexdigest()


def _write_through(path: Path, data: memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
