"""Numbers with their labels: shares with Wilson intervals, means and spreads over folds."""

from collections.abc import Sequence
from typing import Literal

from cmac_core.data.dataset import Fold
from cmac_core.evaluation.intervals import spread, wilson
from cmac_core.events import Value

TEST, MEAN = "test", "mean"


def share(
    name: str,
    value: float,
    n: int,
    *,
    modality: Literal["video", "audio"],
    random_init: float | None = None,
    chance: float | None = None,
    fold: Fold | None = None,
    pool: str | None = None,
    split: str | None = TEST,
    selection: Literal["last", "best"] | None = None,
) -> Value:
    """A share (0 to 1, as are random_init and chance) as percent, with its interval."""
    low, high = wilson(value, n)
    return Value(
        name=name,
        value=100 * value,
        n=n,
        ci_low=low,
        ci_high=high,
        split=split,
        fold=fold.name if fold else None,
        pool=pool,
        selection=selection,
        modality=modality,
        random_init=None if random_init is None else 100 * random_init,
        chance=None if chance is None else 100 * chance,
    )


def over_folds(values: Sequence[Value]) -> list[Value]:
    """For each number of several folds its mean (n: videos of all folds) and its spread (n: folds), split "mean"."""
    alike: dict[tuple[str, str | None], list[Value]] = {}
    for value in values:
        alike.setdefault((value.name, value.pool), []).append(value)
    return [summary for group in alike.values() if len(group) > 1 for summary in _summaries(group)]


def _summaries(group: Sequence[Value]) -> tuple[Value, Value]:
    columns = ([v.value for v in group], [v.random_init for v in group], [v.chance for v in group])
    ours, random, chance = (_spread(column) for column in columns)
    labels = {"split": MEAN, "fold": None, "ci_low": None, "ci_high": None}
    mean, std = ({"value": ours[i] or 0.0, "random_init": random[i], "chance": chance[i]} for i in (0, 1))
    return (
        group[0].model_copy(update={**labels, **mean, "n": sum(v.n for v in group)}),
        group[0].model_copy(update={**labels, **std, "n": len(group), "name": f"{group[0].name}_std"}),
    )


def _spread(column: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in column if value is not None]
    return spread(known) if len(known) == len(column) else (None, None)
