"""Files that jobs leave: found by job, or by the hash of their bytes."""

from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.keys import Principal
from store.tables import Artifact, Checkpoint, Job


def of_job(session: Session, job_id: UUID) -> list[Artifact]:
    """Those of the newest attempt that made each name, in order of their names."""
    newest = select(Artifact).ext(distinct_on(Artifact.name)).where(Artifact.job_id == job_id)
    return list(session.scalars(newest.order_by(Artifact.name, Artifact.epoch.desc())))


def encoders_of(session: Session, checkpoint: Checkpoint) -> Artifact | None:
    """The export of a checkpoint; None for one from the middle of a training, which has none."""
    exports = select(Artifact).where(
        Artifact.attempt_id == checkpoint.attempt_id,
        Artifact.kind == "encoders",
        Artifact.meta["step"].as_integer() == checkpoint.step,
    )
    return session.scalars(exports.limit(1)).first()


def by_sha256(session: Session, sha256: str, principal: Principal) -> Artifact:
    """One whose job the principal may see and whose file is still there. Raises NotFound."""
    query = select(Artifact).join(Job, Job.id == Artifact.job_id).where(Artifact.sha256 == sha256)
    if principal.project is not None:
        query = query.where(Job.project == principal.project)
    for artifact in session.scalars(query.order_by(Artifact.created_at.desc())):
        if Path(artifact.path).is_file():
            return artifact
    raise NotFound(f"no artifact {sha256}")
