"""From an experiment's spec to its plan: every job once, and the cells that show it (QUEUE 10)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from cmac_core.experiments import checks, grids, recipes
from cmac_core.experiments.drafts import BadExperiment, Draft
from cmac_core.experiments.evaluations import lacks
from cmac_core.experiments.tables import Row, Table
from cmac_core.specs import JobCheckpoint, JobSpec, Pretrain, RandomInit
from cmac_core.specs.experiment import Experiment
from cmac_core.specs.method import Model
from cmac_core.specs.problems import FieldProblem

LATER = JobCheckpoint(job=UUID(int=0))  # stands for a pretraining that has no id yet
NO_SCIENCE = {"name", "queue"}  # do not tell two jobs apart


class Cell(NamedTuple):
    """One place: row x seed x evaluation x part, and its job's place in the plan. Evaluation "": the row's own."""

    table: str
    row: str
    seed: int
    evaluation: str
    part: str
    job: int

    @property
    def name(self) -> str:
        """`table-1/full/0/ucf101/split1`."""
        return "/".join(str(part) for part in self[:5] if part != "")


@dataclass(frozen=True)
class PlannedJob:
    """A job to make. `parent` is the place of the pretraining that it waits for and reads (its spec names LATER)."""

    spec: JobSpec
    parent: int | None
    draft: Draft  # says where in the request a field was written


@dataclass
class Plan:
    """Parents stand before their children. `skipped`: (table, row, evaluation) -> why there is nothing to run."""

    jobs: list[PlannedJob] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    tables: tuple[Table, ...] = ()
    skipped: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def cells_of(self, job: int) -> list[Cell]:
        """The cells that a job fills."""
        return [cell for cell in self.cells if cell.job == job]


def expand(spec: Experiment) -> Plan:
    """Every job and cell, validated. Raises BadExperiment with every problem, pointing into the request."""
    checks.check(spec)
    tables = recipes.tables(spec) if spec.recipe else (grids.table(spec),)
    expansion = _Expansion(spec)
    for table in tables:
        for row in table.rows:
            expansion.add(table, row)
    if expansion.problems:
        raise BadExperiment(list(expansion.problems.values()))
    checks.check_size(len(expansion.plan.jobs))
    expansion.plan.tables = tables
    return expansion.plan


class _Expansion:
    def __init__(self, spec: Experiment) -> None:
        self.spec, self.plan = spec, Plan()
        self.problems: dict[tuple[str, str], FieldProblem] = {}
        self._places: dict[str, int] = {}

    def add(self, table: Table, row: Row) -> None:
        """All jobs of a row."""
        try:
            own = row.draft.spec() if row.draft else None
            trained = own if isinstance(own, Pretrain) else None
            if own is not None and trained is None and table.evaluations:
                raise BadExperiment([FieldProblem("/then", f"evaluations follow a pretrain; base is a {own.kind}")])
            model = trained.model if trained else self._untrained(table)
        except BadExperiment as bad:
            self._note(bad)
            list(self._wanted(table, row, None, Model()))  # what is wrong with these is told too
            return
        wanted = list(self._wanted(table, row, trained, model))
        for seed in self.spec.seeds:
            parent = None
            if own is not None and row.draft is not None:
                parent = self._place(table, row, seed, "", "", own, row.draft, None)
            for key, part, evaluation, draft in wanted:
                self._place(table, row, seed, key, part, evaluation, draft, parent)

    def _wanted(
        self, table: Table, row: Row, trained: Pretrain | None, model: Model
    ) -> Iterator[tuple[str, str, JobSpec, Draft]]:
        """Evaluations that say something of the row."""
        checkpoint = LATER if row.draft else RandomInit(random_init=True, model=model)
        for evaluation in table.evaluations:
            for part, draft in evaluation.parts.items():
                try:
                    spec = _checked(draft, checkpoint)
                except BadExperiment as bad:
                    self._note(bad)
                    continue
                if why := lacks(trained, spec):
                    self.plan.skipped[table.key, row.key, evaluation.key] = why
                    continue
                yield evaluation.key, part, spec, draft

    def _untrained(self, table: Table) -> Model:
        """The networks that a row without training looks at: those that the other rows train."""
        trained = (row.draft.spec() for row in table.rows if row.draft)
        models = [spec.model for spec in trained if isinstance(spec, Pretrain)]
        return models[-1] if models else Model()

    def _place(
        self, table: Table, row: Row, seed: int, key: str, part: str, spec: JobSpec, draft: Draft, parent: int | None
    ) -> int:
        """A cell, and its job unless an equal one is there."""
        draft = draft.named("/queue", "/queue").named("/seed", "/seeds")
        job = PlannedJob(self._own(spec, table, row, seed, key, part, parent), parent, draft)
        body = job.spec.model_dump(mode="json", exclude=NO_SCIENCE)
        same = json.dumps([parent, body], sort_keys=True)
        place = self._places.setdefault(same, len(self.plan.jobs))
        if place == len(self.plan.jobs):
            self.plan.jobs.append(job)
        self.plan.cells.append(Cell(table.key, row.key, seed, key, part, place))
        return place

    def _own(
        self, spec: JobSpec, table: Table, row: Row, seed: int, key: str, part: str, parent: int | None
    ) -> JobSpec:
        """With this cell's name, seed and labels."""
        queue = self.spec.queue
        labels = {**queue.labels, "table": table.key, "row": row.key, "seed": str(seed)}
        labels |= {"evaluation": key} if key else {}
        queue = queue.model_copy(update={"labels": labels} | ({"after": ()} if parent is not None else {}))
        name = " ".join(filter(None, (table.key, row.key, f"seed {seed}", key, part)))
        return spec.model_copy(update={"name": name[:200], "seed": seed, "queue": queue})

    def _note(self, bad: BadExperiment) -> None:
        for problem in bad.problems:
            self.problems.setdefault((problem.pointer, problem.message), problem)


def _checked(draft: Draft, checkpoint: JobCheckpoint | RandomInit) -> JobSpec:
    """An evaluation's spec with its checkpoint. Raises BadExperiment."""
    body = {**draft.body, "checkpoint": checkpoint.model_dump(mode="json")}
    spec = Draft(body, draft.pointer, draft.sources).spec()
    if not hasattr(spec, "checkpoint"):
        raise BadExperiment(
            [FieldProblem(f"{draft.pointer}/kind", f"a {spec.kind} evaluates no checkpoint", spec.kind)]
        )
    return spec
