"""The jobs of an experiment's plan against what there is: checked together, and entered into the queue together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session

from cmac_core.experiments.expansion import Plan, PlannedJob
from cmac_core.specs import Import, JobCheckpoint, JobSpec, Pack
from cmac_core.specs.problems import FieldProblem
from store import capacity, compatibility, datasets, jobs, submission
from store.errors import SpecProblem, UnknownReference
from store.keys import Principal
from store.submission import Findings
from store.tables import Job


@dataclass
class Entered:
    """Jobs by their place in the plan, and everything that kept others out."""

    jobs: dict[int, Job] = field(default_factory=dict)
    found: Findings = field(default_factory=Findings)
    warnings: list[tuple[int, str]] = field(default_factory=list)  # place, message

    @property
    def problems(self) -> list[tuple[type[SpecProblem], FieldProblem]]:
        """Each once: most jobs of an experiment fail alike."""
        return list({(one.pointer, one.message): (kind, one) for kind, one in self.found.problems}.values())

    def raise_if_any(self) -> None:
        """One error with all problems."""
        self.found.problems = self.problems
        self.found.raise_if_any()


def enter(session: Session, plan: Plan, principal: Principal, labels: Mapping[str, str]) -> Entered:
    """Enter all jobs, parents first; whoever finds problems undoes the rest. Raises Forbidden, QuotaExceeded."""
    submission.check_rights(session, plan.jobs[0].spec.queue, principal)  # all have the experiment's
    submission.check_queued(session, principal, len(plan.jobs))
    entered = Entered()
    _find_datasets(session, plan, principal, entered.found)
    if entered.found.problems:
        return entered
    known = capacity.known(session)
    for place, planned in enumerate(plan.jobs):
        if planned.parent is not None and planned.parent not in entered.jobs:
            continue  # its pretraining is refused, which is said
        parent = entered.jobs[planned.parent].id if planned.parent is not None else None
        try:
            resolved = submission.resolve(session, _ready(planned, parent, labels), principal, known)
        except SpecProblem as refused:
            _note(planned, refused, entered.found)
            continue
        entered.warnings += [(place, f"{pointer}: {message}") for pointer, message in resolved.warnings]
        # In the table's order, so that it fills row by row.
        entered.jobs[place] = jobs.enter(session, resolved, principal, place)
    return entered


def _ready(planned: PlannedJob, parent: UUID | None, labels: Mapping[str, str]) -> JobSpec:
    """The spec with the id of its pretraining and the experiment's label."""
    spec = planned.spec
    queue = spec.queue.model_copy(update={"labels": {**spec.queue.labels, **labels}})
    known = {} if parent is None else {"checkpoint": JobCheckpoint(job=parent)}
    return spec.model_copy(update={"queue": queue, **known})


def _find_datasets(session: Session, plan: Plan, principal: Principal, found: Findings) -> None:
    """Every dataset that is missing, also those of evaluations whose pretraining cannot be entered."""
    reading = [job for job in plan.jobs if not isinstance(job.spec, Pack | Import)]
    for name in dict.fromkeys(_dataset(job) for job in reading):
        if datasets.find(session, name, principal) is None:
            message, hint = compatibility.no_dataset(session, name, principal)
            wanting = next(job for job in reading if _dataset(job) == name)
            found.add(UnknownReference, wanting.draft.source("/dataset"), message, name, hint)


def _dataset(job: PlannedJob) -> str:
    assert not isinstance(job.spec, Import)
    return job.spec.dataset


def _note(planned: PlannedJob, refused: SpecProblem, found: Findings) -> None:
    found.members |= refused.members
    for problem in refused.errors:
        found.add(type(refused), planned.draft.source(problem.pointer), problem.message, problem.got, problem.hint)
