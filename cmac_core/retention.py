"""Which checkpoints of a training stay: the newest, those of every n-th pass, the best (QUEUE 7). No torch.

The core asks by hand, the service for its jobs: both get the same answer.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cmac_core.specs.method import Checkpoints

CHECKPOINTS, DRAFT = "checkpoints", ".tmp"  # folder of a run; end of the name of what is not yet whole
ACCURACY, LOSS = "accuracy", "loss"  # means over a pass: what the best is found by


class Kept(Protocol):
    """What the decision looks at."""

    @property
    def train_epoch(self) -> float: ...

    @property
    def metrics(self) -> Mapping[str, float] | None: ...  # of the pass that it ends


K = TypeVar("K", bound=Kept)


def outdated(newest_first: Sequence[K], plan: Checkpoints, passes: int) -> list[K]:
    """Those of a training over `passes` passes that need not stay. With `keep` 0 all stay.

    What was saved within a pass is for going on alone: it counts among the newest until the training is done, and
    takes no place from the ends of passes. So a run that was stopped on its way leaves what one that was not leaves.
    """
    if plan.keep == 0:
        return []
    ends = [one for one in newest_first if _ends_a_pass(one, plan, passes)]
    kept = [*ends[: plan.keep], *_best(ends, plan.keep_best)]
    if plan.keep_every:
        kept += [one for one in ends if one.train_epoch % plan.keep_every == 0]
    if not any(one.train_epoch >= passes for one in ends):
        kept += newest_first[: plan.keep]
    return [one for one in newest_first if not any(one is other for other in kept)]


def remove_drafts(folder: Path) -> None:
    """Remove what a run that was killed had half written into its folder of checkpoints."""
    for draft in folder.glob(f"step-*{DRAFT}"):
        shutil.rmtree(draft, ignore_errors=True)


def _ends_a_pass(one: Kept, plan: Checkpoints, passes: int) -> bool:
    """Whether it had to be saved there; one that the clock put at a pass's end by chance is like any other."""
    return one.train_epoch.is_integer() and (plan.due_after(int(one.train_epoch)) or one.train_epoch >= passes)


def _best(ends: Sequence[K], count: int) -> list[K]:
    """By accuracy where the training tells one, else by the lowest loss. Of equals the earliest."""
    judged = [(score, one) for one in reversed(ends) if (score := _score(one.metrics or {})) is not None]
    return [one for _, one in sorted(judged, key=lambda pair: pair[0], reverse=True)[:count]]


def _score(metrics: Mapping[str, float]) -> float | None:
    """Higher is better."""
    if ACCURACY in metrics:
        return metrics[ACCURACY]
    return -metrics[LOSS] if LOSS in metrics else None
