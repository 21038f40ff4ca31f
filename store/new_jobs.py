"""Jobs on their way into the queue. However many a submission makes, each table is written once."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store import code, job_events, notices
from store.keys import Principal
from store.notices import Notice
from store.states import EdgeKind, JobState
from store.submission import Resolved
from store.tables import Job, JobEdge


class NewJob(NamedTuple):
    """A row that is not stored yet, the states that led to it, and its edges: id of the parent -> kind."""

    row: Job
    states: tuple[JobState, ...]
    parents: Mapping[UUID, str]


def draft(
    resolved: Resolved,
    principal: Principal,
    *,
    sent: dict[str, Any] | None = None,
    retry_of: UUID | None = None,
    resume: UUID | None = None,
) -> NewJob:
    """The job of a spec that this transaction has resolved, with an id that others may wait for already.

    `sent`: the spec as somebody wrote it.
    """
    spec, version, states = resolved.spec, code.code_version(), _states(resolved)
    job = Job(
        id=uuid4(),
        project=spec.queue.project,
        owner=principal.user,
        name=spec.name,
        kind=spec.kind,
        spec=resolved.body,
        sent=sent,
        spec_sha256=resolved.sha256,
        state=states[-1],
        priority=resolved.rank,
        labels=dict(spec.queue.labels),
        gpus=resolved.gpus,
        cpu_slots=resolved.cpu_slots,
        nodes=spec.resources.nodes,
        gpu_model=spec.resources.gpu_model,
        node_labels=dict(spec.resources.node_labels),
        max_restarts=spec.queue.max_restarts,
        grace_s=spec.queue.grace_s,
        walltime_s=spec.queue.walltime_s,
        retry_of=retry_of,
        resume_checkpoint=resume,
        dataset_id=resolved.dataset.id if resolved.dataset else None,
        checkpoint_id=resolved.checkpoint_id,
        checkpoint_job=resolved.checkpoint_job,
        git_sha=version.git_sha,
        lock_sha256=version.lock_sha256,
        seed=spec.seed,
    )
    job.event_seq, job.version, job.live = len(states), len(states), 0  # its first events are stored with it
    if job.state is JobState.held:
        job.waiting = {"code": "held", "text": "held since it was submitted", "expected_start": None}
    elif job.state is JobState.blocked:
        listed = ", ".join(str(parent) for parent in resolved.parents)
        job.waiting = {"code": "dependency", "text": f"waits for job {listed}", "expected_start": None}
    return NewJob(job, states, resolved.parents)


def insert(session: Session, new: Sequence[NewJob], actor: str) -> None:
    """Store them with their edges and first events; wakes the scheduler. They wait in the order given."""
    if len(new) > 1:
        # A value, not an expression: rows with expressions are written one by one.
        now = session.scalars(select(func.now())).one()
        for place, one in enumerate(new):
            one.row.submitted_at = now + timedelta(microseconds=place)
    session.add_all(one.row for one in new)
    session.flush()
    session.add_all(
        JobEdge(child=one.row.id, parent=parent, kind=EdgeKind(kind))
        for one in new for parent, kind in one.parents.items()
    )  # fmt: skip
    job_events.begin(session, {one.row.id: one.states for one in new}, actor)
    told = [Notice(notices.JOBS, str(one.row.id)) for one in new]
    if any(one.row.state is JobState.queued for one in new):
        told.append(Notice(notices.QUEUE, ""))
    if told:
        notices.send(session, told)


def _states(resolved: Resolved) -> tuple[JobState, ...]:
    """One that has parents is blocked first, though they be final already."""
    if resolved.spec.queue.hold:
        return (JobState.held,)
    if not resolved.parents:
        return (JobState.queued,)
    return (JobState.blocked,) if resolved.waits else (JobState.blocked, JobState.queued)
