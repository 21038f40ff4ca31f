"""Who may do what, and what they did."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import JSON, UNREAD, Table, now, own_id


class User(Table):
    """A person, or a service that has keys."""

    __tablename__ = "users"
    id: Mapped[uuid.UUID] = own_id()
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(server_default="viewer")  # for the whole lab; a key may be narrower
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = now()


class Project(Table):
    """What jobs and datasets belong to."""

    __tablename__ = "projects"
    id: Mapped[uuid.UUID] = own_id()
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = now()


class Quota(Table):
    """What a user or a project may have at most, and its weight in shares; null is without limit."""

    __tablename__ = "quotas"
    subject: Mapped[str] = mapped_column(primary_key=True)  # user:NAME or project:NAME
    max_gpus: Mapped[int | None]
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    share: Mapped[float] = mapped_column(server_default="1")
    __table_args__ = (
        CheckConstraint("subject ~ '^(user|project):.+'", name="subject"),
        CheckConstraint("share > 0", name="share"),
    )


class ApiKey(Table):
    """A key `cmac_<prefix>_<secret>`; only the secret's sha256 is kept."""

    __tablename__ = "api_keys"
    id: Mapped[uuid.UUID] = own_id()
    user: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_sha256: Mapped[str]
    role: Mapped[str]
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # null: all that the role may
    project: Mapped[str | None] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))  # null: every one
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("role in ('viewer', 'submitter', 'operator', 'admin')", name="role"),
        Index(None, "user"),
    )


class BrowserSession(Table):
    """Somebody who has signed in with a key; of the cookie's token only the sha256 is kept."""

    __tablename__ = "sessions"
    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = now()
    expires_at: Mapped[datetime]
    __table_args__ = (Index(None, "expires_at"), Index(None, "key_id"))


class Audit(Table):
    """Who wrote what, when. Append only: a trigger of the database refuses anything else."""

    __tablename__ = "audit"
    __mapper_args__ = UNREAD
    id: Mapped[uuid.UUID] = own_id()
    at: Mapped[datetime] = now()
    principal: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    before: Mapped[JSON | None]
    after: Mapped[JSON | None]
    ip: Mapped[str | None]
    request_id: Mapped[str | None]
    __table_args__ = (Index(None, "at"), Index(None, "target"))
