"""Datasets, checkpoints, artifacts, roots and keys, as they leave. Paths of machines stay inside."""

from typing import Any, Self
from uuid import UUID

from pydantic import Field, computed_field
from sqlalchemy.orm import Session

from api.views.base import Time, View
from store import artifacts, results
from store.tables import Checkpoint, Job


class ArtifactView(View):
    """A file that a job left."""

    name: str
    kind: str
    media_type: str
    bytes: int
    sha256: str
    epoch: int
    meta: dict[str, Any]
    created_at: Time

    @computed_field  # type: ignore[prop-decorator]
    @property
    def url(self) -> str:
        """Where the bytes are."""
        return artifact_url(self.sha256)


def artifact_url(sha256: str) -> str:
    """Address of the bytes of that hash."""
    return f"/artifacts/{sha256}"


class CheckpointView(View):
    """A saved state of a training."""

    id: UUID
    job_id: UUID
    epoch: int
    step: int
    train_epoch: float
    kind: str
    sha256: str
    bytes: int
    metrics: dict[str, Any] | None
    state: str
    pinned_by: str | None
    created_at: Time


class WholeCheckpointView(CheckpointView):
    """One saved state with what it was made of."""

    project: str
    file: str | None = Field(description="Its encoders as safetensors; null in the middle of a training.")
    file_sha256: str | None
    file_bytes: int | None
    card: str = Field(description="Its model card.")
    lineage: dict[str, Any]

    @classmethod
    def whole(cls, session: Session, checkpoint: Checkpoint) -> Self:
        """The view of a row and what belongs to it."""
        job, exported = session.get_one(Job, checkpoint.job_id), artifacts.encoders_of(session, checkpoint)
        here = f"/checkpoints/{checkpoint.id}"
        more = {
            "project": job.project,
            "file": f"{here}/file" if exported else None,
            "file_sha256": exported.sha256 if exported else None,
            "file_bytes": exported.bytes if exported else None,
            "card": f"{here}/card",
            "lineage": {"job": str(job.id), "kind": job.kind, **results.lineage(session, job)},
        }
        columns = {column.key: getattr(checkpoint, column.key) for column in Checkpoint.__table__.columns}
        return cls.model_validate(columns | more)


class DatasetView(View):
    """A packed dataset; specs name it by `reference`."""

    id: UUID
    reference: str
    name: str
    version: int
    project: str
    job_id: UUID | None = Field(description="The pack that made it.")
    root: str | None
    manifest_sha256: str
    clips: int
    quarantined: int
    with_audio: int
    hours: float
    bytes: int
    media: str
    labels: dict[str, Any] = Field(description="Column -> number of different values.")
    counts: dict[str, Any] = Field(description="Split -> clips.")
    licence: str | None
    state: str
    created_at: Time


class RootView(View):
    """A named folder below which media may be read."""

    id: UUID
    name: str
    path: str
    created_by: str
    created_at: Time


class AuditView(View):
    """Who wrote what, when, from where."""

    id: UUID
    at: Time
    user: str = Field(validation_alias="principal")
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str | None
    request_id: str | None


class KeyView(View):
    """An API key, without its secret."""

    id: UUID
    user: str
    name: str
    prefix: str
    role: str
    scopes: list[str] | None = Field(description="What it is limited to; null: all that the role may.")
    project: str | None
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class NewKeyView(KeyView):
    """The one answer that holds a key."""

    key: str = Field(description="Shown this once: only its hash is kept.")
