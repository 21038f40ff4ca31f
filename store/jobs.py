"""Jobs as people see them: submit, look, retry. What is asked of one that is there stands in `verbs`."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, bindparam, func, literal, select, union_all, update
from sqlalchemy.orm import Session

from cmac_core.specs import JOB_SPEC, JobSpec
from store import audit, line, new_jobs, submission, walltime
from store.errors import AlreadyExists, Forbidden, Gone, IllegalMove, NotFound
from store.keys import Principal, Role
from store.listing import FILTERS, SORTS, Page, page
from store.moves import lock, move
from store.new_jobs import NewJob
from store.policy import Pending
from store.states import (
    FINAL,
    VERBS,
    DeviceKind,
    EdgeKind,
    JobState,
)
from store.tables import Cell, Experiment, Job, JobEdge

__all__ = [
    "FILTERS",
    "SORTS",
    "Page",
    "allowed",
    "check_there",
    "counts",
    "edges",
    "enter",
    "estimate",
    "get",
    "lock",
    "may_change",
    "move",
    "page",
    "position",
    "queue",
    "retry",
    "submit",
]


def submit(session: Session, spec: JobSpec, principal: Principal, sent: dict[str, Any] | None = None) -> Job:
    """Check a spec against what there is, store it (as it was `sent`, too) and make its edges; wakes the scheduler.

    Raises InvalidSpec, UnknownReference, Incompatible, Infeasible (all with every error found),
    QuotaExceeded, Forbidden (role; urgent; foreign project).
    """
    new = new_jobs.draft(submission.resolve(session, spec, principal), principal, sent=sent)
    enter(session, [new], principal)
    session.refresh(new.row)
    return new.row


def enter(session: Session, new: Sequence[NewJob], principal: Principal) -> None:
    """Store what this transaction has resolved, with edges, events and trail; they wait in the order given."""
    new_jobs.insert(session, new, principal.user)
    for job in (one.row for one in new):
        after = {"kind": job.kind, "spec_sha256": job.spec_sha256}
        audit.write(session, principal, "job.submit", str(job.id), after=after)
    session.flush()


def estimate(session: Session, spec: JobSpec, principal: Principal) -> dict[str, Any]:
    """The dry run (API 2.4): the same checks, nothing stored. Raises what `submit` raises."""
    resolved = submission.resolve(session, spec, principal)
    project, kind = resolved.spec.queue.project, DeviceKind.gpu if resolved.gpus else DeviceKind.cpu
    devices = resolved.gpus or resolved.cpu_slots
    later_s = time.time() + 1  # younger than all that wait
    asked = Pending(
        uuid4(), kind, devices, tier=resolved.rank, project=project, owner=principal.user, submitted_s=later_s
    )
    return {
        "spec": resolved.body,
        "spec_sha256": resolved.sha256,
        "feasible_nodes": resolved.feasible_nodes,
        "position": line.order(session, asked).index(asked.id) + 1,
        "expected_start": None,
        "estimate": submission.cost(session, resolved),
        "warnings": [{"pointer": pointer, "message": message} for pointer, message in resolved.warnings],
    }


def get(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Raises NotFound, also for a job of another project; Gone for one that was deleted."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound(f"no job {job_id}")
    _check(job_id, job.project, job.deleted_at, principal)
    return job


_THERE = select(Job.project, Job.deleted_at).where(Job.id == bindparam("job"))


def check_there(session: Session, job_id: UUID, principal: Principal) -> None:
    """Raises what `get` raises: for who wants something of a job that its row does not have."""
    row = session.execute(_THERE, {"job": job_id}).first()
    if row is None:
        raise NotFound(f"no job {job_id}")
    _check(job_id, *row, principal)


def _check(job_id: UUID, project: str, deleted_at: datetime | None, principal: Principal) -> None:
    if not principal.sees(project):
        raise NotFound(f"no job {job_id}")
    if deleted_at is not None:
        raise Gone(f"job {job_id} was deleted", removed_at=deleted_at.isoformat())


def may_change(job: Job, principal: Principal) -> None:
    """Raises Forbidden unless it is theirs or they operate the lab."""
    principal.require(Role.submitter)
    if job.owner != principal.user and not principal.role.includes(Role.operator):
        raise Forbidden(f"job {job.id} belongs to {job.owner}", needs_role="operator")


def retry(
    session: Session,
    job_id: UUID,
    principal: Principal,
    *,
    fresh: bool = False,
    parent: UUID | None = None,
    walltime_s: float | None = None,
) -> Job:
    """A new job of the same spec, from the last checkpoint unless `fresh`; cells that showed the old one show it.

    `parent`: the pretraining that an evaluation reads now; `walltime_s`: of the new one, without it the old one's.
    Raises NotFound, Forbidden, IllegalMove (not failed or cancelled), AlreadyExists (a retry of it lives), InvalidSpec.
    """
    old = get(session, job_id, principal)
    may_change(old, principal)
    # Before the job's lock: whoever retries a whole experiment takes them in this order.
    shown = select(Cell.experiment_id).where(Cell.job_id == old.id)
    session.execute(update(Experiment).where(Experiment.id.in_(shown)).values(finished_at=None))
    old = lock(session, old.id)
    if old.state not in (JobState.failed, JobState.cancelled):
        raise IllegalMove(f"a job that is {old.state} is not retried", state=str(old.state), allowed=allowed(old))
    live = session.scalar(select(Job.id).where(Job.retry_of == old.id, Job.state.not_in(FINAL)))
    if live is not None:
        raise AlreadyExists(f"job {live} is a retry of this one and not finished", existing=str(live))
    walltime.check(walltime_s, old.grace_s)
    body = old.spec if parent is None else {**old.spec, "checkpoint": {"job": str(parent)}}
    may_run = old.walltime_s if walltime_s is None else walltime_s
    body = {**body, "queue": {**body["queue"], "walltime_s": may_run}}
    resolved = submission.resolve(session, JOB_SPEC.validate_python(body), principal)
    resume = None if fresh else old.resume_checkpoint
    new = new_jobs.draft(resolved, principal, sent=old.sent, retry_of=old.id, resume=resume)
    new_jobs.insert(session, [new], principal.user)
    job = new.row
    session.refresh(job)
    session.execute(update(Cell).where(Cell.job_id == old.id).values(job_id=job.id))
    audit.write(session, principal, "job.retry", str(old.id), after={"job": str(job.id), "fresh": fresh})
    return job


def position(session: Session, job: Job) -> int | None:
    """1 is next; None when it is not queued."""
    if job.state is not JobState.queued:
        return None
    return next((place for place, one in enumerate(line.order(session), start=1) if one == job.id), None)


def queue(session: Session, limit: int = 200) -> list[Job]:
    """Queued jobs in the scheduler's order."""
    ids = line.order(session)[:limit]
    found = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(ids)))}
    return [found[job] for job in ids]


def _edges_of(side: str, mine: Any, other: Any) -> Select[str, UUID, EdgeKind, JobState]:
    columns = (literal(side), Job.id, JobEdge.kind, Job.state)
    return select(*columns).join(JobEdge, other == Job.id).where(mine == bindparam("job"))


_EDGES = union_all(
    _edges_of("after", JobEdge.child, JobEdge.parent), _edges_of("before", JobEdge.parent, JobEdge.child)
)


def edges(session: Session, job_id: UUID) -> dict[str, list[dict[str, str]]]:
    """{"after": [{job, kind, state}], "before": [...]}: parents and children."""
    found: dict[str, list[dict[str, str]]] = {"after": [], "before": []}
    for side, job, kind, state in session.execute(_EDGES, {"job": job_id}):
        found[side].append({"job": str(job), "kind": str(kind), "state": str(state)})
    return found


def allowed(job: Job) -> list[str]:
    """Verbs that this job's state admits now, for `links` and 409's `allowed`."""
    if job.state in (JobState.failed, JobState.cancelled):
        return ["retry"]
    return [] if job.state in FINAL else ["cancel", *(verb for verb, states in VERBS.items() if job.state in states)]


def counts(session: Session) -> dict[tuple[str, str], int]:
    """(state, kind) -> jobs, for Prometheus."""
    rows = session.execute(select(Job.state, Job.kind, func.count()).group_by(Job.state, Job.kind))
    return {(str(state), kind): count for state, kind, count in rows}
