"""All that must be right before the core starts: room on the disk, whole inputs, free devices, files in the folder."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from cmac_core.data.manifest import MANIFEST
from cmac_core.specs.references import CACHE, CHECKPOINT, DATASET, OUTPUT, PACKED, RESUME, SOURCE, WEIGHTS
from store import checkpoints
from store.attempts import Work
from store.ends import Reason
from worker import inventory
from worker.inventory import MIB
from worker.patience import insist

log = logging.getLogger(__name__)

SPEC_FILE, INPUTS_FILE = "spec.json", "inputs.json"
CHECKPOINTS_OF_ROOM = 3
DEVICE_PATIENCE = 30.0  # s; a driver takes a moment to give memory back

Inputs = dict[str, dict[str, str | None]]


class Refused(Exception):
    """The core cannot start here and now."""

    def __init__(self, reason: Reason, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.hint = reason, detail, hint


def prepare(work: Work, min_free_mb: int) -> Path:
    """Check everything, write spec.json and inputs.json; the spec's path. Raises Refused, Fenced."""
    if work.problem is not None:
        raise Refused(Reason.data_error, work.problem)
    work.folder.mkdir(parents=True, exist_ok=True)
    inputs = check_inputs(work)
    resume = inputs.get(RESUME)
    check_disk(work.folder, min_free_mb, Path(resume["path"]) if resume and resume["path"] else None)
    spec = work.folder / SPEC_FILE
    if work.lease.part == 0:  # the folder is shared
        (work.folder / INPUTS_FILE).write_text(json.dumps(inputs, indent=2))
        spec.write_text(json.dumps(work.spec, indent=2))
    return spec


def check_disk(folder: Path, min_free_mb: int, checkpoint: Path | None) -> None:
    """There must be room for three checkpoints as large as the last one, and never less than the setting."""
    free = shutil.disk_usage(folder).free
    last = checkpoint.stat().st_size if checkpoint is not None else 0
    needed = max(min_free_mb * MIB, CHECKPOINTS_OF_ROOM * last)
    if free < needed:
        detail = f"{folder} has {free // MIB} MiB left; {needed // MIB} MiB are needed."
        raise Refused(Reason.disk_full, detail, "Make room there, or lower CMAC_MIN_FREE_MB.")


def check_inputs(work: Work) -> Inputs:
    """Everything that the core will read is there and is what was registered.

    A bad checkpoint to resume from is marked so and the one before it is taken; without one the run starts anew.
    """
    inputs: Inputs = {}
    for key, entry in work.inputs.items():
        path = Path(entry["path"] or "")
        if key == RESUME:
            inputs |= _resume(work) if work.lease.part == 0 else {}
        elif key in (OUTPUT, CACHE):
            path.mkdir(parents=True, exist_ok=True)
            inputs[key] = entry
        elif (wrong := _check(key)(path, entry["sha256"])) is not None:
            raise Refused(Reason.data_error, f"{key}: {wrong}")
        else:
            inputs[key] = entry
    return inputs


def wait_for_devices(work: Work, beat: Callable[[], object]) -> None:
    """No GPU of ours may be in use by anyone. `beat` is called while waiting. Raises Refused."""
    uuids = {device.uuid for device in work.devices if device.uuid}
    until = time.monotonic() + DEVICE_PATIENCE
    while busy := busy_gpus(uuids):
        if time.monotonic() > until:
            raise Refused(Reason.launch_rejected, "; ".join(busy), "See who uses the GPU with nvidia-smi.")
        beat()
        time.sleep(1.0)


def busy_gpus(uuids: AbstractSet[str]) -> list[str]:
    """Why these GPUs are not free, in words; empty when they are."""
    return [
        f"GPU {gpu.number} holds {gpu.used_mb} MiB of pids {', '.join(map(str, gpu.pids)) or 'unknown'}"
        for gpu in (inventory.gpus() if uuids else ())
        if gpu.uuid in uuids and (gpu.pids or gpu.used_mb >= inventory.GPU_IS_FREE_BELOW)
    ]


def _resume(work: Work) -> Inputs:
    entry, checkpoint = work.inputs[RESUME], work.resume_checkpoint
    while (wrong := _wrong_file(Path(entry["path"] or ""), entry["sha256"])) is not None:
        assert checkpoint is not None
        log.warning("bad checkpoint: %s", wrong)
        bad, detail = checkpoint, wrong
        before = insist(lambda session: checkpoints.mark_bad(session, work.lease, bad, detail))  # noqa: B023
        if before is None:
            return {}
        entry, checkpoint = {"path": before.path, "sha256": before.sha256}, before.id
    return {RESUME: entry}


def _wrong_file(path: Path, sha256: str | None) -> str | None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None if sha256 in (None, found) else f"{path} is not what was registered: its sha256 is {found[:12]}…"


def _wrong_dataset(path: Path, sha256: str | None) -> str | None:
    return _wrong_file(path / MANIFEST, sha256)


def _check(key: str) -> Callable[[Path, str | None], str | None]:
    return _wrong_folder if key.startswith(PACKED) else _CHECKS[key]


def _wrong_folder(path: Path, sha256: str | None) -> str | None:
    return None if path.is_dir() else f"{path} is no folder"


_CHECKS: dict[str, Callable[[Path, str | None], str | None]] = {
    DATASET: _wrong_dataset,
    CHECKPOINT: _wrong_file,
    SOURCE: _wrong_folder,
    WEIGHTS: _wrong_file,
}
