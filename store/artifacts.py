"""Files that jobs leave: found by job, or by the hash of their bytes."""

from uuid import UUID

from sqlalchemy.orm import Session

from store.keys import Principal
from store.tables import Artifact


def of_job(session: Session, job_id: UUID) -> list[Artifact]:
    """Those of the newest attempt that made each name, in order of their names."""
    raise NotImplementedError


def by_sha256(session: Session, sha256: str, principal: Principal) -> Artifact:
    """One whose job the principal may see and whose file is still there. Raises NotFound."""
    raise NotImplementedError
