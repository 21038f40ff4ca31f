"""From which checkpoint a training goes on: the one it is given, or by hand the newest in its folder that is whole."""

from pathlib import Path

from cmac_core.retention import CHECKPOINTS
from cmac_core.specs.references import RESUME
from cmac_core.training.checkpoint_files import sidecar_of, stored
from cmac_core.training.run import Run


def resume_point(run: Run) -> Path | None:
    """The state.pt to go on from; None for a start from nothing. Raises UserError when the given one is not right."""
    if RESUME in run.inputs:
        return run.input(RESUME)
    for found in reversed(stored(run.folder / CHECKPOINTS)):
        fault = found.fault()
        if fault is None:
            return found.state
        run.warn("bad_checkpoint", f"{found.state} {fault}; going on from an older one")
    return None


def step_of(state: Path) -> int | None:
    """The step of a checkpoint, without reading it; None when nothing beside it tells."""
    sidecar = sidecar_of(state)
    return None if sidecar is None else sidecar.step
