"""Which of two ways to compute the same a training takes. Chosen once in its life, for all ranks, and kept with it."""

from cmac_core.distributed import world_size
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.fused import fuse
from cmac_core.models.fused_norm import disagreement
from cmac_core.objectives.base import Objective
from cmac_core.training.agreement import gathered
from cmac_core.training.checkpoint import State
from cmac_core.training.run import Run

LIBRARY, FUSED = "library", "fused"
FUSED_ON = ("cuda",)
STEPS = 200  # from which seconds of compiling pay
LARGE = 5_000_000  # parameters that are trained; with fewer a GPU waits for launches and not for its memory


def take_norm(run: Run, objective: Objective, steps: int, before: State | None) -> str:
    """Let batch norm of `objective` be the library's or the fused one, and say which: a rule, and a check.

    The fused one is for GPUs, for large networks and for trainings of many steps, and only where it agrees with the
    library's on every rank's device. It knows the clips of its own rank alone. A training that goes on keeps what it
    began with.
    """
    pays = steps >= STEPS and sum(parameter.numel() for parameter in objective.trained()) >= LARGE
    fused = pays if before is None else before.get("norm", LIBRARY) == FUSED
    if not fused or run.device.type not in FUSED_ON or _over_ranks(objective):
        return LIBRARY
    faults = [fault for fault in gathered(disagreement(run.device)) if fault is not None]
    if faults:
        run.warn(
            "fused_norm",
            f"batch norm stays the library's, which is slower: the fused one does not agree with it here ({faults[0]})",
        )
        return LIBRARY
    fuse(objective)
    return FUSED


def _over_ranks(objective: Objective) -> bool:
    """Whether clips of several ranks share statistics."""
    norms = [part for part in objective.modules() if isinstance(part, GroupedBatchNorm)]
    return world_size() > 1 and any(norm.group is None for norm in norms)
