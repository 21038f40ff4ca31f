"""Users and projects, as they leave."""

from pydantic import Field

from api.views.base import Time, View


class ProjectView(View):
    """A project and what it holds of the disk, as it was registered."""

    name: str
    jobs: int
    dataset_bytes: int
    checkpoint_bytes: int
    artifact_bytes: int


class UserView(View):
    """Somebody who may have keys."""

    name: str
    role: str = Field(description="The most that any of their keys may do.")
    disabled: bool
    created_at: Time
