"""What leaves after a commit, and answers that may be asked for again."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import JSON, Table, now, own_id


class Webhook(Table):
    """A receiver that is told of events. Its secret signs what it gets, so it is kept as it is."""

    __tablename__ = "webhooks"
    id: Mapped[uuid.UUID] = own_id()
    project: Mapped[str | None] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))  # null: every one
    owner: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = now()
    failures: Mapped[int] = mapped_column(server_default="0")  # in a row
    failing_since: Mapped[datetime | None]
    not_before: Mapped[datetime | None]  # nothing is sent before, but for a test
    error: Mapped[str | None]  # of the last failure; null once something has arrived
    disabled_at: Mapped[datetime | None]
    __table_args__ = (Index(None, "owner"),)


class Outbox(Table):
    """A message that was committed with what it tells of; the relay sends it."""

    __tablename__ = "outbox"
    id: Mapped[uuid.UUID] = own_id()
    kind: Mapped[str] = mapped_column(server_default="launch")
    queue: Mapped[str]  # of a launch; of a webhook the event's name
    payload: Mapped[JSON]
    webhook_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = now()
    available_at: Mapped[datetime] = now()
    sent_at: Mapped[datetime | None]
    gave_up_at: Mapped[datetime | None]
    sends: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[int | None]  # that a webhook's receiver answered last
    error: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("kind in ('launch', 'webhook')", name="kind"),
        CheckConstraint("(kind = 'webhook') = (webhook_id is not null)", name="webhook"),
        Index(
            "ix_outbox_pending",
            "kind",
            "available_at",
            postgresql_where=text("sent_at is null and gave_up_at is null"),
        ),
        Index("ix_outbox_webhook", "webhook_id", "created_at", postgresql_where=text("webhook_id is not null")),
    )


class IdempotencyKey(Table):
    """A request that creates, and the answer it got."""

    __tablename__ = "idempotency_keys"
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None]
    body: Mapped[JSON | None]
    expires_at: Mapped[datetime]
    __table_args__ = (Index(None, "expires_at"),)
