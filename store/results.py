"""What a job found out, and what it was made of."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from store.keys import Principal


def view(session: Session, job_id: UUID, principal: Principal) -> dict[str, Any]:
    """The /results body (API 3) as a plain dict; the caller derives the status from `final` (202 or 200).

    Always: id, kind, name, state, final, version, live, values, protocol, lineage, artifacts
    [{id, name, kind, media_type, bytes, sha256, meta}], retried_by. Unfinished: waiting, progress; values have
    `partial: true`. Failed: error {reason, detail, hint, log_tail}. Cancelled: cancelled {by, at, reason, why}.
    Raises NotFound.
    """
    raise NotImplementedError


def page(
    session: Session, principal: Principal, filters: dict[str, list[str]], limit: int = 1000
) -> list[dict[str, Any]]:
    """Values over many jobs, flat: one dict per value with job, kind, labels. Filters as `jobs.page`."""
    raise NotImplementedError


def attention(
    session: Session,
    job_id: UUID,
    principal: Principal,
    *,
    clip: str | None = None,
    modality: str | None = None,
    map: str | None = None,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Attention maps (API 4): artifacts of kind attention_* grouped by (clip, modality, map).

    Each: {clip, modality, map, **meta, "files": {"raw": sha256, "png": sha256, "mp4": sha256}}. Raises NotFound.
    """
    raise NotImplementedError
