"""When a training saves itself, where, and what happens when the disk is full."""

import copy
import io
import math
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from cmac_core.events import Saved
from cmac_core.retention import ACCURACY, CHECKPOINTS, LOSS, remove_drafts
from cmac_core.specs.method import Checkpoints
from cmac_core.training import checkpoint_files
from cmac_core.training.checkpoint_files import FULL, Sidecar, Stored
from cmac_core.training.errors import DiskFull
from cmac_core.training.run import Run, versions

ROOM = 3  # checkpoints for which there should be room
WAIT_S, PAUSE_S = 30.0, 10.0  # for others to make room for what has to be kept; between two tries


@dataclass
class Saving:
    """The checkpoints of one run. Only rank 0 writes, and training goes on while it does."""

    run: Run
    plan: Checkpoints
    spec_sha256: str
    _saved_at: float = field(default_factory=time.monotonic)
    _warned: bool = False
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _under_way: Future[None] | None = None

    def due(self) -> bool:
        """Whether it is time, by rank 0's clock."""
        return self.run.rank == 0 and time.monotonic() - self._saved_at >= self.plan.every_s

    def save(self, state: dict[str, Any], must: bool = False) -> None:
        """Take a copy of the state and write it meanwhile; the one before is whole by then.

        One that `must` be kept is written before this returns. On a full disk training goes on, unless it must: then
        DiskFull. Raises OSError for what the writing of the one before met besides.
        """
        self._saved_at = time.monotonic()
        if self.run.rank != 0:
            return
        self.settle()
        if must:
            self._keep(state, must=True)
        else:
            self._under_way = self._writer.submit(self._keep, copy.deepcopy(state), must=False)

    def settle(self) -> None:
        """Wait until what is under way is written. Raises what it met, but for a full disk."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def __enter__(self) -> "Saving":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Settle; an error that is on its way already stays the one that is raised."""
        try:
            self.settle()
        except OSError as fault:
            if error is None:
                raise
            error.add_note(f"the checkpoint under way was not written: {fault}")

    def _keep(self, state: dict[str, Any], *, must: bool) -> None:
        data = serialized(state)
        try:
            stored = self._write(data, self._sidecar(state, data), WAIT_S if must else 0.0)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._disk_full(error, data.nbytes, must)
            return
        self.run.emit(
            Saved(
                step=stored.sidecar.step,
                train_epoch=stored.sidecar.train_epoch,
                path=stored.state.relative_to(self.run.folder).as_posix(),
                sha256=stored.sidecar.sha256,
                bytes=stored.sidecar.bytes,
                metrics=stored.sidecar.metrics,
            )
        )
        remove_drafts(self.run.folder / CHECKPOINTS)
        if self.run.removes_old:
            checkpoint_files.prune(self.run.folder / CHECKPOINTS, self.plan, state["spec"]["optim"]["epochs"])
        self._look_ahead(data.nbytes)

    def _look_ahead(self, size: int) -> None:
        """Say once that the disk will soon be full, while a person can still do something."""
        free = shutil.disk_usage(self.run.folder / CHECKPOINTS).free
        if free < ROOM * size and not self._warned:
            self._warned = True
            self.run.warn("disk_low", f"{free / 1e6:.0f} MB are left, room for {free // size} more checkpoints")

    def _write(self, data: memoryview, sidecar: Sidecar, wait_s: float) -> Stored:
        """Write; on a full disk remove the oldest checkpoints, one after the other, and try again.

        Where others remove them, they are told, and have `wait_s` seconds for it.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                return checkpoint_files.write(self.run.folder / CHECKPOINTS, data, sidecar)
            except OSError as error:
                if error.errno not in FULL or self.plan.keep == 0 or not self._make_room(sidecar.step, until):
                    raise

    def _make_room(self, step: int, until: float) -> bool:
        """Whether it is worth another try."""
        if not self.run.removes_old:
            if time.monotonic() >= until:
                return False
            self.run.warn("disk_full", f"the disk is full; waiting for room for step {step}")
            time.sleep(PAUSE_S)
            return True
        made = checkpoint_files.drop_oldest(self.run.folder / CHECKPOINTS)
        if made:
            self.run.warn("disk_full", f"the disk is full; the oldest checkpoint made room for step {step}")
        return made

    def _sidecar(self, state: dict[str, Any], data: memoryview) -> Sidecar:
        return Sidecar(
            step=state["step"],
            train_epoch=state["train_epoch"],
            sha256=checkpoint_files.sha256_of_bytes(data),
            bytes=data.nbytes,
            world_size=state["world_size"],
            spec_sha256=self.spec_sha256,
            versions=versions(),
            metrics=metrics_of(state),
        )

    def _disk_full(self, error: OSError, size: int, must: bool) -> None:
        text = f"no room for a checkpoint of {size / 1e6:.1f} MB in {self.run.folder / CHECKPOINTS}: {error.strerror}"
        if must:
            raise DiskFull(text, "Make room and start again: it goes on from the last checkpoint.") from error
        self.run.warn("disk_full", f"{text}; training goes on")


def metrics_of(state: dict[str, Any]) -> dict[str, float]:
    """Means over the pass that ends with this state; nothing within a pass, and nothing that is not finite."""
    if not float(state["train_epoch"]).is_integer():
        return {}
    told = {LOSS: state["last_pass"].get("total"), ACCURACY: state["last_pass"].get("accuracy")}
    return {name: value for name, value in told.items() if value is not None and math.isfinite(value)}


def serialized(state: dict[str, Any]) -> memoryview:
    """The bytes of a state's file, in memory: so a full disk shows as what it is, and the hash costs no read."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()
