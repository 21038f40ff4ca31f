"""One run of the core: its folder, its inputs, its events, its device, and whether it was asked to leave.

No torch at import: a pack runs without it.
"""

import mimetypes
import platform
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmac_core.data.manifest import sha256_of
from cmac_core.events import AnyEvent, Artifact, EventLog, Started, Warned
from cmac_core.specs import JobSpec
from cmac_core.training.errors import Left
from cmac_core.training.inputs import Inputs, located
from cmac_core.training.progress import ProgressMeter
from cmac_core.training.signals import StopFlag
from cmac_core.versions import installed

if TYPE_CHECKING:
    import torch


class Run:
    """What a job is given besides its spec. Rank 0 writes events; on other ranks `emit` does nothing."""

    def __init__(
        self,
        folder: Path,
        inputs: Inputs,
        *,
        rank: int = 0,
        world_size: int = 1,
        local_rank: int = 0,
        stop: StopFlag | None = None,
        removes_old: bool = True,
    ) -> None:
        self.folder = folder
        self.inputs = inputs
        self.rank, self.world_size, self.local_rank = rank, world_size, local_rank
        self.stop = stop or StopFlag()
        self.removes_old = removes_old  # checkpoints; else whoever started it does
        self.log = EventLog(folder) if rank == 0 else None
        self.meter = ProgressMeter(draw=rank == 0)
        self.resume: Path | None = None  # state.pt from which a pretraining goes on

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the events; the run is over."""
        if self.log is not None:
            self.log.close()

    @property
    def leaving(self) -> bool:
        """Whether this process was asked to save and leave. Ranks agree on it before they act on it."""
        return self.stop.raised

    def leave_if_asked(self) -> None:
        """Raises Left when the run was asked to leave: for jobs of one rank, between two units of work."""
        if self.leaving:
            raise Left

    def input(self, key: str) -> Path:
        """Path of an input (a key of specs/references.py). Raises UserError: not given, not there, other hash."""
        return located(key, self.inputs)

    @cached_property
    def device(self) -> "torch.device":
        """This rank's GPU, or the CPU where there is none."""
        import torch  # only jobs that compute pay for it

        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def emit(self, event: AnyEvent) -> None:
        """Append an event to events.jsonl (rank 0 alone)."""
        if self.log is not None:
            self.log.write(event)

    def warn(self, code: str, message: str) -> None:
        """Tell a person something, without stopping."""
        self.emit(Warned(code=code, message=message))

    def start(self, spec: JobSpec, resumed_step: int | None = None) -> None:
        """Say what is about to run, and with what."""
        self.emit(
            Started(
                spec=spec.model_dump(mode="json"),
                versions=versions(),
                world_size=self.world_size,
                resumed_step=resumed_step,
            )
        )

    def progress(self, phase: str, step: int, of: int, unit: str = "it", per_step: float = 1.0) -> None:
        """Say how far a phase is; call it as often as you like. `per_step` units of `unit` make one step."""
        if self.log is not None and (event := self.meter.at(phase, step, of, unit, per_step)) is not None:
            self.log.write(event)

    def artifact(
        self,
        name: str,
        kind: str,
        media_type: str | None,
        path: Path,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Announce a finished file below the run's folder (relative paths start there); it is hashed here."""
        path = self.folder / path
        assert path.resolve().is_relative_to(self.folder.resolve()), f"{path} lies outside {self.folder}"
        self.emit(
            Artifact(
                name=name,
                kind=kind,
                media_type=media_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                path=path.resolve().relative_to(self.folder.resolve()).as_posix(),
                sha256=sha256_of(path),
                bytes=path.stat().st_size,
                meta=meta or {},
            )
        )


def versions() -> dict[str, str]:
    """What ran: interpreter, libraries, this code."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found |= installed("cmac-lab", "torch", "torchaudio", "av", "numpy")
    sha = _git_sha()
    return {**found, "git_sha": sha} if sha else found


def _git_sha() -> str | None:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None  # an installation without git still runs
