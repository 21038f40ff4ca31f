"""Receivers of events and what was sent to them, as they leave."""

from typing import Any
from uuid import UUID

from pydantic import Field, computed_field

from api.views.base import Time, View


class WebhookView(View):
    """A receiver, without its secret."""

    id: UUID
    project: str | None = Field(description="Whose events; null: those of every project.")
    owner: str
    url: str
    events: list[str]
    created_at: Time
    failures: int = Field(description="In a row.")
    failing_since: Time | None
    not_before: Time | None = Field(description="Nothing but a test is sent before.")
    error: str | None = Field(description="What went wrong last; null since something has arrived.")
    disabled_at: Time | None = Field(description="Nothing has arrived for three days; a test that arrives enables it.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> str:
        """ok, failing or disabled."""
        return "disabled" if self.disabled_at else "failing" if self.failures else "ok"


class NewWebhookView(WebhookView):
    """The one answer that holds a webhook's secret."""

    secret: str = Field(description="Shown this once; deliveries are signed with it.")


class DeliveryView(View):
    """One event on its way to a receiver."""

    id: UUID = Field(description="X-CMAC-Delivery: the same at every try.")
    event: str = Field(validation_alias="queue")
    created_at: Time
    sends: int = Field(description="How often it was tried.")
    status: int | None = Field(description="What the receiver answered last.")
    error: str | None
    sent_at: Time | None
    gave_up_at: Time | None
    available_at: Time = Field(exclude=True)
    payload: dict[str, Any] = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> str:
        """waiting, arrived or given_up."""
        return "arrived" if self.sent_at else "given_up" if self.gave_up_at else "waiting"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def next_at(self) -> Time | None:
        """When it is tried next."""
        return self.available_at if self.state == "waiting" else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def about(self) -> str | None:
        """The job, experiment or machine that it tells of."""
        told = (self.payload.get(kind) for kind in ("job", "experiment", "node"))
        return next((str(one["id"]) for one in told if one), None)
