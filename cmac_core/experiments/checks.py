"""What is wrong with an experiment as a whole, before any of its jobs is looked at."""

from collections.abc import Iterable, Iterator, Mapping

from cmac_core.experiments import grids
from cmac_core.experiments.drafts import BadExperiment, at
from cmac_core.specs.experiment import Datasets, Experiment
from cmac_core.specs.problems import FieldProblem

MOST_JOBS = 2000
MOST_LABELS = 26  # of the 32 that a job may have the experiment's own take six

# Fields of a job that the experiment gives to all of them.
_OF_ALL = {"kind": None, "seed": "seeds", "name": "name", "queue": "queue", "checkpoint": None}
_OF_A_RECIPE = {**_OF_ALL, "dataset": "dataset or datasets", "preset": "preset", "scale": "scale"}


def check(spec: Experiment) -> None:
    """Raises BadExperiment with every problem."""
    problems = [*_shape(spec), *_paths(spec), *_keys(spec)]
    if problems:
        raise BadExperiment(problems)
    if spec.recipe is None:
        check_size(grids.size(spec))


def check_size(jobs: int) -> None:
    """Raises BadExperiment when there are too many, or none."""
    if jobs == 0:
        raise BadExperiment([FieldProblem("", "this makes no jobs: give then, or rows that train")])
    if jobs > MOST_JOBS:
        message = f"this makes {jobs:,} jobs; the most is {MOST_JOBS:,}: give fewer seeds, rows or values"
        raise BadExperiment([FieldProblem("", message)])


def _shape(spec: Experiment) -> Iterator[FieldProblem]:
    if spec.recipe is None and spec.base is None:
        yield FieldProblem("/recipe", "give a recipe (table-1, figure-4, ...), or base with rows or grid")
    own = {"base": spec.base, "rows": spec.rows, "grid": spec.grid, "then": spec.then}
    if spec.recipe is not None:
        for name in (name for name, given in own.items() if given):
            yield FieldProblem(f"/{name}", "goes with an experiment of your own; leave out recipe, or this")
    elif spec.datasets != Datasets():
        yield FieldProblem("/datasets", "goes with a recipe; name the datasets in base and then")
    if spec.rows and spec.grid:
        yield FieldProblem("/grid", "give rows or grid, not both")
    for path, values in spec.grid.items():
        if not values:
            yield FieldProblem(at("/grid", path), "has no values")
    if len(spec.queue.labels) > MOST_LABELS:
        message = f"at most {MOST_LABELS} labels; every job gets some of the experiment's own too"
        yield FieldProblem("/queue/labels", message, len(spec.queue.labels))


def _paths(spec: Experiment) -> Iterator[FieldProblem]:
    if spec.recipe is not None:
        yield from _given_elsewhere("/set", spec.set, _OF_A_RECIPE)
        return
    yield from _given_elsewhere("/set", spec.set, _OF_ALL)
    yield from _given_elsewhere("/grid", spec.grid, _OF_ALL)
    for place, row in enumerate(spec.rows):
        yield from _given_elsewhere(f"/rows/{place}/set", row.set, _OF_ALL)
    later = {name: instead for name, instead in _OF_ALL.items() if instead}
    yield from _given_elsewhere("/base", spec.base or (), later)
    for place, one in enumerate(spec.then):
        yield from _given_elsewhere(f"/then/{place}/spec", one.spec, later)


def _given_elsewhere(pointer: str, paths: Iterable[str], instead: Mapping[str, str | None]) -> Iterator[FieldProblem]:
    for path in paths:
        first = path.split(".")[0]
        if first in instead:
            tip = f"give {instead[first]} at the top of the experiment" if instead[first] else None
            yield FieldProblem(at(pointer, path), "is the same for every job of an experiment", None, tip)


def _keys(spec: Experiment) -> Iterator[FieldProblem]:
    for name, keys in (("rows", [row.key for row in spec.rows]), ("then", [one.key for one in spec.then])):
        for place, key in enumerate(keys):
            if (first := keys.index(key)) < place:
                yield FieldProblem(f"/{name}/{place}/key", f"stands at /{name}/{first} already", key)
