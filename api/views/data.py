"""Datasets, checkpoints, artifacts, roots and keys, as they leave. Paths of machines stay inside."""

from typing import Any
from uuid import UUID

from pydantic import Field, computed_field

from api.views.base import Time, View


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


class KeyView(View):
    """An API key, without its secret."""

    id: UUID
    user: str
    name: str
    prefix: str
    role: str
    project: str | None
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class NewKeyView(KeyView):
    """The one answer that holds a key."""

    key: str = Field(description="Shown this once: only its hash is kept.")
