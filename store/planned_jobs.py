"""The jobs of an experiment's plan against what there is: checked together, and made ready for the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session

from cmac_core.experiments.expansion import Plan, PlannedJob
from cmac_core.specs import Import, JobCheckpoint, JobSpec, Pack
from cmac_core.specs.problems import FieldProblem
from store import compatibility, new_jobs, submission
from store.errors import SpecProblem, UnknownReference
from store.keys import Principal
from store.new_jobs import NewJob
from store.references import References
from store.submission import Findings


@dataclass
class Checked:
    """Jobs by their place in the plan, parents first, and everything that kept others out."""

    jobs: dict[int, NewJob] = field(default_factory=dict)
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


def check(session: Session, plan: Plan, principal: Principal, labels: Mapping[str, str]) -> Checked:
    """Check all jobs and draft them; nothing is stored. Raises Forbidden, QuotaExceeded."""
    submission.check_rights(session, plan.jobs[0].spec.queue, principal)  # all have the experiment's
    submission.check_queued(session, principal, len(plan.jobs))
    checked, references = Checked(), References(session, principal)
    _find_datasets(references, plan, checked.found)
    if checked.found.problems:
        return checked
    for place, planned in enumerate(plan.jobs):
        if planned.parent is not None and planned.parent not in checked.jobs:
            continue  # its pretraining is refused, which is said
        parent = checked.jobs[planned.parent].row.id if planned.parent is not None else None
        try:
            resolved = submission.check(references, _ready(planned, parent, labels))
        except SpecProblem as refused:
            _note(planned, refused, checked.found)
            continue
        checked.warnings += [(place, f"{pointer}: {message}") for pointer, message in resolved.warnings]
        checked.jobs[place] = new = new_jobs.draft(resolved, principal)
        references.parents[new.row.id] = new.row
    return checked


def _ready(planned: PlannedJob, parent: UUID | None, labels: Mapping[str, str]) -> JobSpec:
    """The spec with the id of its pretraining and the experiment's label."""
    spec = planned.spec
    queue = spec.queue.model_copy(update={"labels": {**spec.queue.labels, **labels}})
    known = {} if parent is None else {"checkpoint": JobCheckpoint(job=parent)}
    return spec.model_copy(update={"queue": queue, **known})


def _find_datasets(references: References, plan: Plan, found: Findings) -> None:
    """Every dataset that is missing, also those of evaluations whose pretraining cannot be entered."""
    reading = [job for job in plan.jobs if not isinstance(job.spec, Pack | Import)]
    for name in dict.fromkeys(_dataset(job) for job in reading):
        if references.datasets[name] is None:
            message, hint = compatibility.no_dataset(references, name)
            wanting = next(job for job in reading if _dataset(job) == name)
            found.add(UnknownReference, wanting.draft.source("/dataset"), message, name, hint)


def _dataset(job: PlannedJob) -> str:
    assert not isinstance(job.spec, Import)
    return job.spec.dataset


def _note(planned: PlannedJob, refused: SpecProblem, found: Findings) -> None:
    found.members |= refused.members
    for problem in refused.errors:
        found.add(type(refused), planned.draft.source(problem.pointer), problem.message, problem.got, problem.hint)
