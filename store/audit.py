"""The trail: who wrote what, when. Rows are only added; the database refuses anything else."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.orm import Session

from store.errors import BadCursor, Forbidden
from store.keys import Principal, Role
from store.tables import Audit


def write(
    session: Session,
    principal: Principal,
    action: str,
    target: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    ip: str | None = None,
    request_id: str | None = None,
) -> None:
    """One row; `action` like "job.submit", `target` an id or a name. Never keys, never whole environments."""
    row = Audit(principal=principal.user, action=action, target=target, before=before, after=after)
    row.ip, row.request_id = ip, request_id
    session.add(row)


def page(
    session: Session,
    principal: Principal,
    wanted: Mapping[str, str | datetime | None],
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[Audit], str | None]:
    """Rows newest first, and the cursor of those that follow.

    `wanted`: user, action (its beginning), target, since, until; None is any. Operators whose key sees every project:
    the trail is the whole lab's. Raises Forbidden, BadCursor.
    """
    principal.require(Role.operator)
    if principal.project is not None:
        raise Forbidden(f"the trail is the whole lab's; your key sees project {principal.project} alone")
    query = select(Audit).where(*(_holds(name, value) for name, value in wanted.items() if value is not None))
    if cursor is not None:
        last = session.get(Audit, _id(cursor))
        if last is None:
            raise BadCursor
        query = query.where(tuple_(Audit.at, Audit.id) < (last.at, last.id))
    rows = list(session.scalars(query.order_by(Audit.at.desc(), Audit.id.desc()).limit(limit + 1)))
    return rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None


def _holds(name: str, value: str | datetime) -> ColumnElement[bool]:
    match name:
        case "user":
            return Audit.principal == value
        case "action":
            return Audit.action.startswith(str(value), autoescape=True)
        case "target":
            return Audit.target == value
        case "since":
            return Audit.at >= value
        case "until":
            return Audit.at < value
    raise ValueError(name)


def _id(cursor: str) -> UUID:
    try:
        return UUID(cursor)
    except ValueError as error:
        raise BadCursor from error
