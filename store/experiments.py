"""What people may ask of experiments: submit, look, cancel, run again what failed (QUEUE 10, API 2.3)."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID, uuid4

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, defer

from cmac_core.experiments.drafts import BadExperiment
from cmac_core.experiments.expansion import Plan, expand
from cmac_core.experiments.outline import outline
from cmac_core.specs.experiment import Experiment as Spec
from store import audit, jobs, planned_jobs, verbs, webhooks
from store.errors import BadRequest, Forbidden, InvalidSpec, NotFound
from store.keys import Principal, Role
from store.states import ACTIVE, FINAL, JobState
from store.tables import Cell, Experiment, Job

MOST_AT_ONCE = 200
AGAIN = (JobState.failed, JobState.cancelled)  # what a retry runs again


def submit(session: Session, spec: Spec, principal: Principal) -> Experiment:
    """Expand it, then store it with all its jobs, edges and cells.

    Raises InvalidSpec, UnknownReference, Incompatible, Infeasible (each with every error found, pointing into the
    experiment's own spec), QuotaExceeded, Forbidden. The caller's transaction undoes what was stored before.
    """
    plan = plan_of(spec)
    experiment = Experiment(
        id=uuid4(), project=spec.queue.project, owner=principal.user, name=spec.name, recipe=spec.recipe
    )
    checked = planned_jobs.check(session, plan, principal, {"experiment": str(experiment.id)})
    checked.raise_if_any()
    jobs.enter(session, list(checked.jobs.values()), principal)  # in the table's order, so that it fills row by row
    warnings = sorted({message for _, message in checked.warnings})
    experiment.scale, experiment.spec = spec.scale, spec.model_dump(mode="json")
    experiment.outline = outline(plan) | {"warnings": warnings}
    session.add(experiment)
    session.flush()
    for position, cell in enumerate(plan.cells):
        names = {name: value for name, value in cell._asdict().items() if name != "job"}
        job = checked.jobs[cell.job].row.id
        session.add(Cell(experiment_id=experiment.id, cell=cell.name, position=position, job_id=job, **names))
    audit.write(session, principal, "experiment.submit", str(experiment.id), after={"jobs": len(plan.jobs)})
    session.flush()
    session.refresh(experiment)
    return experiment


def plan_of(spec: Spec) -> Plan:
    """Raises InvalidSpec with every problem, pointing into the experiment's spec."""
    try:
        return expand(spec)
    except BadExperiment as bad:
        raise InvalidSpec(bad.problems) from bad


def find(session: Session, experiment_id: UUID, principal: Principal) -> Experiment | None:
    """None also for an experiment of another project."""
    experiment = session.get(Experiment, experiment_id)
    return experiment if experiment is not None and principal.sees(experiment.project) else None


def get(session: Session, experiment_id: UUID, principal: Principal) -> Experiment:
    """Raises NotFound."""
    experiment = find(session, experiment_id, principal)
    if experiment is None:
        raise NotFound(f"no experiment {experiment_id}")
    return experiment


def listed(session: Session, principal: Principal, limit: int = 10_000) -> list[Experiment]:
    """Newest first."""
    query = select(Experiment).order_by(Experiment.submitted_at.desc(), Experiment.id)
    if principal.project is not None:
        query = query.where(Experiment.project == principal.project)
    return list(session.scalars(query.limit(limit)))


def counts(session: Session, experiments: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """State -> number of jobs, for each experiment."""
    wanted = list(experiments)
    found: dict[UUID, dict[str, int]] = {one: {} for one in wanted}
    rows = session.execute(
        select(Cell.experiment_id, Job.state, func.count(func.distinct(Job.id)))
        .join(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id.in_(wanted))
        .group_by(Cell.experiment_id, Job.state)
        .order_by(Job.state)
    )
    for experiment, state, count in rows:
        found[experiment][str(state)] = count
    return found


def state_of(counted: Mapping[str, int]) -> JobState:
    """An experiment's state in the words of jobs: running from its first start to its last end."""
    states = {JobState(name) for name in counted}
    if states - FINAL:
        return JobState.running if states & (ACTIVE | FINAL) else JobState.queued
    worst = (JobState.failed, JobState.cancelled, JobState.succeeded)
    return next(state for state in worst if state in states)


def jobs_of(session: Session, experiment: Experiment) -> list[tuple[Job, list[str]]]:
    """Its jobs, parents first, each with its cells."""
    rows = session.execute(
        select(Cell.cell, Job)
        .join(Job, Job.id == Cell.job_id)
        .where(Cell.experiment_id == experiment.id)
        .order_by(Cell.position)
        .options(defer(Job.spec), defer(Job.sent))  # most of a row
        .execution_options(populate_existing=True)
    )
    found: dict[UUID, tuple[Job, list[str]]] = {}
    for cell, job in rows:
        found.setdefault(job.id, (job, []))[1].append(cell)
    return list(found.values())


def cancel(session: Session, experiment_id: UUID, principal: Principal, *, force: bool = False) -> Experiment:
    """Cancel every job that is not final. Asking again changes nothing. Raises NotFound, Forbidden."""
    experiment = _mine(session, experiment_id, principal)
    # Parents first, in the order in which an ending parent locks its children.
    for job, _ in jobs_of(session, experiment):
        if job.state not in FINAL:
            verbs.cancel(session, job.id, principal, force=force, why=f"experiment {experiment.id} was cancelled")
    audit.write(session, principal, "experiment.cancel", str(experiment.id), after={"force": force})
    return experiment


def retry(
    session: Session,
    experiment_id: UUID,
    principal: Principal,
    *,
    rows: Sequence[str] = (),
    fresh: bool = False,
    walltime_s: float | None = None,
) -> tuple[Experiment, list[Job]]:
    """New jobs for cells (of these rows) that failed or were cancelled; evaluations follow the new pretraining.

    What succeeded or lives stays; so asking again changes nothing. Raises NotFound, Forbidden, BadRequest (no such
    row), and what submitting raises.
    """
    experiment = _mine(session, experiment_id, principal)
    cells = _cells(session, experiment)
    known = list(dict.fromkeys(cell.row for cell in cells))
    if unknown := [row for row in rows if row not in known]:
        raise BadRequest(f"there is no row {unknown[0]!r}; there are {', '.join(known)}", allowed=known)
    made: list[Job] = []
    for cell in cells:
        job = session.get_one(Job, session.get_one(Cell, (experiment.id, cell.cell), populate_existing=True).job_id)
        if job.state not in AGAIN or (rows and cell.row not in rows):
            continue
        parent = _own_job(session, experiment, cell) if job.checkpoint_job is not None and cell.evaluation else None
        made.append(jobs.retry(session, job.id, principal, fresh=fresh, parent=parent, walltime_s=walltime_s))
    audit.write(session, principal, "experiment.retry", str(experiment.id), after={"jobs": len(made)})
    return experiment, made


def ended() -> Select[Experiment]:
    """Those whose jobs are all final and that are not noted yet."""
    alive = select(Cell.job_id).join(Job, Job.id == Cell.job_id)
    alive = alive.where(Cell.experiment_id == Experiment.id, Job.state.not_in(FINAL))
    return select(Experiment).where(Experiment.finished_at.is_(None), ~alive.exists())


def finish(session: Session) -> int:
    """Note those whose jobs are all final, and tell of them; how many.

    The reconciler's: two jobs that end at the same moment each see the other at work. A retry takes the note back.
    """
    done = session.scalars(ended().order_by(Experiment.id).limit(MOST_AT_ONCE).with_for_update(skip_locked=True)).all()
    counted = counts(session, (experiment.id for experiment in done))
    for experiment in done:
        experiment.finished_at = func.now()
        webhooks.tell_of_experiment(session, experiment, counted[experiment.id])
    session.flush()
    return len(done)


def _mine(session: Session, experiment_id: UUID, principal: Principal) -> Experiment:
    """The experiment, locked: two requests that change it come one after the other."""
    principal.require(Role.submitter)
    experiment = get(session, experiment_id, principal)
    if experiment.owner != principal.user and not principal.role.includes(Role.operator):
        raise Forbidden(f"experiment {experiment.id} belongs to {experiment.owner}", needs_role=str(Role.operator))
    session.refresh(experiment, with_for_update=True)
    return experiment


def _cells(session: Session, experiment: Experiment) -> list[Cell]:
    query = select(Cell).where(Cell.experiment_id == experiment.id).order_by(Cell.position)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _own_job(session: Session, experiment: Experiment, cell: Cell) -> UUID | None:
    """The newest pretraining of a cell's row and seed."""
    own = select(Cell.job_id).where(
        Cell.experiment_id == experiment.id,
        Cell.table == cell.table,
        Cell.row == cell.row,
        Cell.seed == cell.seed,
        Cell.evaluation == "",
    )
    return session.scalar(own)
