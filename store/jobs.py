"""What people may ask of jobs: submit, look, cancel, retry. How a state changes stands in `moves`."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cmac_core.specs import JOB_SPEC, JobSpec
from store import audit, code, job_events, line, moves, notices, submission
from store.ending import Ending, end
from store.ends import Reason
from store.errors import AlreadyExists, Forbidden, IllegalMove, NotFound
from store.keys import Principal, Role
from store.listing import FILTERS, SORTS, Page, page
from store.moves import lock, move
from store.policy import Pending
from store.states import (
    ACTIVE,
    FINAL,
    LIVE_PARTS,
    WAITING,
    AttemptState,
    Desired,
    DeviceKind,
    EdgeKind,
    JobState,
    PartState,
    StopFor,
)
from store.submission import Resolved
from store.tables import Attempt, Cell, Job, JobEdge, Part

__all__ = [
    "FILTERS",
    "SORTS",
    "Page",
    "allowed",
    "cancel",
    "counts",
    "edges",
    "enter",
    "estimate",
    "get",
    "lock",
    "move",
    "page",
    "position",
    "queue",
    "retry",
    "submit",
]


def submit(session: Session, spec: JobSpec, principal: Principal) -> Job:
    """Check a spec against what there is, store it and make its edges; wakes the scheduler.

    Raises InvalidSpec, UnknownReference, Incompatible, Infeasible (all with every error found),
    QuotaExceeded, Forbidden (role; urgent; foreign project).
    """
    return enter(session, submission.resolve(session, spec, principal), principal)


def enter(session: Session, resolved: Resolved, principal: Principal) -> Job:
    """Store a spec that this transaction has resolved, and make its edges; wakes the scheduler."""
    job = _insert(session, resolved, principal)
    audit.write(session, principal, "job.submit", str(job.id), after={"kind": job.kind, "spec_sha256": job.spec_sha256})
    return job


def estimate(session: Session, spec: JobSpec, principal: Principal) -> dict[str, Any]:
    """The dry run (API 2.4): the same checks, nothing stored. Raises what `submit` raises."""
    resolved = submission.resolve(session, spec, principal)
    project, kind = resolved.spec.queue.project, DeviceKind.gpu if resolved.gpus else DeviceKind.cpu
    devices = resolved.gpus or resolved.cpu_slots
    # Younger than all that wait.
    asked = Pending(uuid4(), kind, devices, tier=resolved.rank, project=project, owner=principal.user, waited_s=-1.0)
    return {
        "spec": resolved.spec.model_dump(mode="json"),
        "spec_sha256": resolved.sha256,
        "feasible_nodes": resolved.feasible_nodes,
        "position": line.order(session, asked).index(asked.id) + 1,
        "expected_start": None,
        "estimate": submission.cost(session, resolved),
        "warnings": [{"pointer": pointer, "message": message} for pointer, message in resolved.warnings],
    }


def get(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Raises NotFound, also for a job of another project."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None or not principal.sees(job.project):
        raise NotFound(f"no job {job_id}")
    return job


def cancel(session: Session, job_id: UUID, principal: Principal, *, force: bool = False, why: str = "") -> Job:
    """Ask for the end: at once while it waits, else the supervisor saves and leaves (`force`: without saving).

    Asking again changes nothing. Raises NotFound, IllegalMove (final otherwise), Forbidden (not yours).
    """
    _may_change(get(session, job_id, principal), principal)
    for _ in range(5):
        # Parts and attempts are locked before jobs; a job that was placed in between is looked at anew.
        with session.begin_nested() as point:
            attempt = _lock_live_attempt(session, job_id)
            job = lock(session, job_id)
            if job.state in ACTIVE and (attempt is None or attempt.epoch != job.epoch):
                point.rollback()
                continue
            _cancel(session, job, attempt, principal, force=force, why=why)
            return job
    raise IllegalMove(f"job {job_id} is moving too fast; ask again", state=str(job.state), allowed=["cancel"])


def retry(
    session: Session, job_id: UUID, principal: Principal, *, fresh: bool = False, parent: UUID | None = None
) -> Job:
    """A new job of the same spec, from the last checkpoint unless `fresh`; cells that showed the old one show it.

    `parent`: the pretraining that an evaluation reads now.
    Raises NotFound, Forbidden, IllegalMove (not failed or cancelled), AlreadyExists (a retry of it lives).
    """
    old = get(session, job_id, principal)
    _may_change(old, principal)
    old = lock(session, old.id)
    if old.state not in (JobState.failed, JobState.cancelled):
        raise IllegalMove(f"a job that is {old.state} is not retried", state=str(old.state), allowed=allowed(old))
    live = session.scalar(select(Job.id).where(Job.retry_of == old.id, Job.state.not_in(FINAL)))
    if live is not None:
        raise AlreadyExists(f"job {live} is a retry of this one and not finished", existing=str(live))
    body = old.spec if parent is None else {**old.spec, "checkpoint": {"job": str(parent)}}
    resolved = submission.resolve(session, JOB_SPEC.validate_python(body), principal)
    job = _insert(session, resolved, principal, retry_of=old.id, resume=None if fresh else old.resume_checkpoint)
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


def edges(session: Session, job_id: UUID) -> dict[str, list[dict[str, str]]]:
    """{"after": [{job, kind, state}], "before": [...]}: parents and children."""

    def told(mine: Any, other: Any) -> list[dict[str, str]]:
        rows = session.execute(
            select(Job.id, JobEdge.kind, Job.state).join(JobEdge, other == Job.id).where(mine == job_id)
        )
        return [{"job": str(job), "kind": str(kind), "state": str(state)} for job, kind, state in rows]

    return {"after": told(JobEdge.child, JobEdge.parent), "before": told(JobEdge.parent, JobEdge.child)}


def allowed(job: Job) -> list[str]:
    """Verbs that this job's state admits now (for `links` and 409's `allowed`): cancel, retry."""
    if job.state in (JobState.failed, JobState.cancelled):
        return ["retry"]
    return [] if job.state in FINAL else ["cancel"]


def counts(session: Session) -> dict[tuple[str, str], int]:
    """(state, kind) -> jobs, for Prometheus."""
    rows = session.execute(select(Job.state, Job.kind, func.count()).group_by(Job.state, Job.kind))
    return {(str(state), kind): count for state, kind, count in rows}


def _insert(
    session: Session,
    resolved: Resolved,
    principal: Principal,
    retry_of: UUID | None = None,
    resume: UUID | None = None,
) -> Job:
    spec, version = resolved.spec, code.code_version()
    job = Job(
        project=spec.queue.project,
        owner=principal.user,
        name=spec.name,
        kind=spec.kind,
        spec=spec.model_dump(mode="json"),
        spec_sha256=resolved.sha256,
        state=JobState.blocked if resolved.parents else JobState.queued,
        priority=resolved.rank,
        labels=dict(spec.queue.labels),
        gpus=resolved.gpus,
        cpu_slots=resolved.cpu_slots,
        max_restarts=spec.queue.max_restarts,
        grace_s=spec.queue.grace_s,
        retry_of=retry_of,
        resume_checkpoint=resume,
        dataset_id=resolved.dataset.id if resolved.dataset else None,
        checkpoint_id=resolved.checkpoint_id,
        checkpoint_job=resolved.checkpoint_job,
        git_sha=version.git_sha,
        lock_sha256=version.lock_sha256,
        seed=spec.seed,
    )
    job.event_seq, job.version, job.live = 0, 0, 0  # the first event makes the version 1
    if resolved.parents:
        listed = ", ".join(str(parent) for parent in resolved.parents)
        job.waiting = {"code": "dependency", "text": f"waits for job {listed}", "expected_start": None}
    session.add(job)
    session.flush()
    session.add_all(
        JobEdge(child=job.id, parent=parent, kind=EdgeKind(kind)) for parent, kind in resolved.parents.items()
    )
    job_events.add(session, job, "state", principal.user, {"state": job.state, "was": None, "epoch": 0})
    if resolved.parents:
        moves.settle(session, job)  # parents may be final already; they are locked by `resolve`
    else:
        notices.notify(session, notices.QUEUE)
    session.flush()
    session.refresh(job)
    return job


def _may_change(job: Job, principal: Principal) -> None:
    principal.require(Role.submitter)
    if job.owner != principal.user and not principal.role.includes(Role.operator):
        raise Forbidden(f"job {job.id} belongs to {job.owner}", needs_role="operator")


def _lock_live_attempt(session: Session, job_id: UUID) -> Attempt | None:
    live = select(Attempt.id).where(Attempt.job_id == job_id, Attempt.state != AttemptState.exited)
    attempt = session.scalar(live)
    if attempt is None:
        return None
    session.execute(select(Part.part).where(Part.attempt_id == attempt).order_by(Part.part).with_for_update())
    return session.get(Attempt, attempt, with_for_update={"key_share": True}, populate_existing=True)


def _cancel(
    session: Session, job: Job, attempt: Attempt | None, principal: Principal, *, force: bool, why: str
) -> None:
    if job.state is JobState.cancelled:
        return
    if job.state in FINAL:
        raise IllegalMove(f"job {job.id} has {job.state} already", state=str(job.state), allowed=allowed(job))
    before, after = {"state": str(job.state)}, {"force": force, "why": why}
    audit.write(session, principal, "job.cancel", str(job.id), before=before, after=after)
    job.ended_by = principal.user
    if job.state in WAITING:
        move(session, job, JobState.cancelled, principal.user, reason=str(Reason.cancelled), detail=why)
        return
    assert attempt is not None
    grace = 0.0 if force else job.grace_s
    attempt.desired, attempt.stop_for = Desired.stop, StopFor.cancel
    deadline = func.now() + timedelta(seconds=grace)
    attempt.stop_deadline = func.least(func.coalesce(attempt.stop_deadline, deadline), deadline) if force else deadline
    if job.state is JobState.stopping:
        if job.stop_for is not StopFor.cancel:
            job.stop_for = StopFor.cancel
            job_events.add(session, job, "state", principal.user, {"state": job.state, "stop_for": "cancel"})
    else:
        move(session, job, JobState.stopping, principal.user, detail=why, stop_for=StopFor.cancel)
    session.flush()
    _end_unclaimed(session, job, attempt, why)


def _end_unclaimed(session: Session, job: Job, attempt: Attempt, why: str) -> None:
    """An attempt that no machine has taken up needs no supervisor to end."""
    states = session.scalars(select(Part.state).where(Part.attempt_id == attempt.id)).all()
    if any(state in LIVE_PARTS and state is not PartState.dispatched for state in states):
        return
    session.execute(update(Part).where(Part.attempt_id == attempt.id).values(state=PartState.exited))
    end(session, attempt, Ending(Reason.cancelled, why, ""), exit_code=None, log_tail="", release=True)
