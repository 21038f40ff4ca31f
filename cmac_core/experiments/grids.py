"""A grid of one's own: any spec as `base`, rows or combinations of values over it, evaluations below (API 2.3)."""

import json
from itertools import product
from math import prod

from cmac_core.experiments.drafts import BadExperiment, Body, Draft, at
from cmac_core.experiments.evaluations import first_measure
from cmac_core.experiments.tables import Column, Evaluation, Measure, Row, Table
from cmac_core.specs import Resources
from cmac_core.specs.experiment import Experiment, Then
from cmac_core.specs.problems import FieldProblem

KEY = "grid"
LONGEST_KEY = 128


def table(spec: Experiment) -> Table:
    """One table. Raises BadExperiment."""
    assert spec.base is not None
    base = _base(spec, spec.base)
    jobs = tuple(Evaluation(one.key, {"": _evaluation(spec, one, place)}) for place, one in enumerate(spec.then))
    rows = _rows(spec, base)
    x = next(iter(spec.grid), "") if all(row.x is not None for row in rows) else ""
    return Table(KEY, spec.name or "Grid", rows, jobs, _columns(spec, base, jobs), x=x)


def size(spec: Experiment) -> int:
    """How many jobs a grid would make if none were shared, before anything is built."""
    rows = len(spec.rows) or prod(len(values) for values in spec.grid.values())
    return rows * len(spec.seeds) * (1 + len(spec.then))


def _base(spec: Experiment, base: Body) -> Draft:
    draft = Draft(base, "/base").over(_dials(spec))
    if spec.resources != Resources():
        draft = draft.over({"resources": spec.resources.model_dump(exclude_none=True)})
    for path, value in spec.set.items():
        draft = draft.put(path, value, at("/set", path))
    return draft


def _rows(spec: Experiment, base: Draft) -> tuple[Row, ...]:
    if spec.grid:
        return tuple(_combination(spec, base, values) for values in product(*spec.grid.values()))
    if not spec.rows:
        return (Row("base", "base", base),)
    rows = []
    for place, row in enumerate(spec.rows):
        draft = base
        for path, value in row.set.items():
            draft = draft.put(path, value, at(f"/rows/{place}/set", path))
        rows.append(Row(row.key, row.key, None if row.random_init else draft))
    return tuple(rows)


def _combination(spec: Experiment, base: Draft, values: tuple[object, ...]) -> Row:
    """A row for one value of each field; numbers make the row a point on an axis when there is one field."""
    draft, parts = base, []
    for path, value in zip(spec.grid, values, strict=True):
        draft = draft.put(path, value, at("/grid", path))
        text = value if isinstance(value, str) else json.dumps(value)
        parts.append(f"{path}={text}")
    key = ",".join(parts)
    if len(key) > LONGEST_KEY or "/" in key:
        raise BadExperiment([FieldProblem("/grid", f"{key[:60]}... makes no row's key; name the rows with `rows`")])
    one = values[0] if len(values) == 1 else None
    is_number = isinstance(one, int | float) and not isinstance(one, bool)
    return Row(key, key, draft, x=float(one) if is_number else None)  # type: ignore[arg-type]


def _evaluation(spec: Experiment, one: Then, place: int) -> Draft:
    pointer = f"/then/{place}/spec"
    if "checkpoint" in one.spec:
        message = "comes from the row: leave it out"
        raise BadExperiment([FieldProblem(f"{pointer}/checkpoint", message, one.spec["checkpoint"])])
    return Draft(one.spec, pointer).over(_dials(spec))


def _dials(spec: Experiment) -> Body:
    own: Body = {"preset": spec.preset, "scale": spec.scale}
    return own | ({"dataset": spec.dataset} if spec.dataset else {})


def _columns(spec: Experiment, base: Draft, jobs: tuple[Evaluation, ...]) -> tuple[Column, ...]:
    kind = str(base.body.get("kind"))
    if not jobs:
        return () if kind in ("pack", "pretrain") else (Column(kind, kind, "", first_measure(kind)),)
    found = []
    for one in spec.then:
        measure = first_measure(str(one.spec.get("kind")))
        wanted = Measure(one.value, measure.modality) if one.value else measure
        found.append(Column(one.key, one.key, one.key, wanted))
    return tuple(found)
