"""Deleting a job that is over: what it left goes, its row stays as a mark that says when."""

from uuid import UUID

from sqlalchemy import delete as remove
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from store import audit, jobs, moves
from store.errors import IllegalMove, InUse
from store.keys import Principal
from store.states import FINAL, CheckpointState, DatasetState
from store.tables import Artifact, Cell, Checkpoint, Dataset, Job, JobEdge, Result


def delete(session: Session, job_id: UUID, principal: Principal) -> None:
    """Its result, artifacts, checkpoints, curves and logs; files and curves go a little later (`store/retention.py`).

    Raises NotFound, Gone, Forbidden, IllegalMove (it is not over), InUse (`by`: the job, experiment or dataset that
    still needs it, or who pinned one of its checkpoints).
    """
    jobs.may_change(jobs.get(session, job_id, principal), principal)
    job = moves.lock(session, job_id)
    if job.state not in FINAL:
        raise IllegalMove(f"a job that is {job.state} is not deleted", state=str(job.state), allowed=jobs.allowed(job))
    if (by := _needed_by(session, job)) is not None:
        raise InUse(f"{by} still needs job {job_id}", by=by.split()[-1])
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.job_id == job_id, Checkpoint.state.in_((CheckpointState.ok, CheckpointState.bad)))
        .values(state=CheckpointState.deleting)
    )
    for table in (Artifact, Result):
        session.execute(remove(table).where(table.job_id == job_id))
    job.log_tail = job.resume_checkpoint = None
    job.deleted_at = func.now()
    audit.write(session, principal, "job.delete", str(job_id), before={"name": job.name, "kind": job.kind})
    session.flush()


def _needed_by(session: Session, job: Job) -> str | None:
    """What names it, in words, the name last."""
    if (shown := session.scalar(select(Cell.experiment_id).where(Cell.job_id == job.id).limit(1))) is not None:
        return f"experiment {shown}"
    made = select(Dataset).where(Dataset.job_id == job.id, Dataset.state == DatasetState.ok)
    if (dataset := session.scalar(made)) is not None:
        return f"dataset {dataset.reference}"
    mine = select(Checkpoint.id).where(Checkpoint.job_id == job.id)
    reads = or_(Job.checkpoint_job == job.id, Job.checkpoint_id.in_(mine), Job.resume_checkpoint.in_(mine))
    reader = select(Job.id).where(reads, Job.id != job.id, Job.deleted_at.is_(None)).limit(1)
    waits = select(Job.id).join(JobEdge, JobEdge.child == Job.id)
    waits = waits.where(JobEdge.parent == job.id, Job.state.not_in(FINAL)).limit(1)
    for other in (reader, waits):
        if (found := session.scalar(other)) is not None:
            return f"job {found}"
    pinned = select(Checkpoint.pinned_by).where(Checkpoint.job_id == job.id, Checkpoint.pinned_by.is_not(None)).limit(1)
    return f"user {pinner}" if (pinner := session.scalar(pinned)) is not None else None
