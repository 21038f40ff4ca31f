"""Lists of jobs: filters, an order, and a cursor that new jobs do not shift."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, literal_column, or_, select
from sqlalchemy.orm import Session, defer

from cmac_core.specs import KINDS
from store.errors import BadCursor, BadFilter
from store.keys import Principal
from store.settings import settings
from store.states import JobState
from store.tables import NEVER, Attempt, Dataset, Job, Node, Part

# Filters of `page`, as API 6 names them; `label.<key>` too.
FILTERS = (
    "state",
    "kind",
    "owner",
    "project",
    "dataset",
    "checkpoint",
    "node",
    "reason",
    "name",
    "submitted_after",
    "submitted_before",
)
SORTS = ("-submitted_at", "submitted_at", "-ended_at", "ended_at", "priority")
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Page:
    items: list[Job]
    next_cursor: str | None
    total: int | None = None  # only when asked for; at most 10,000


def page(
    session: Session,
    principal: Principal,
    filters: Mapping[str, Sequence[str]],
    sort: str = "-submitted_at",
    limit: int = 50,
    cursor: str | None = None,
    count: bool = False,
) -> Page:
    """One page by keyset over (sort column, id). `filters`: name -> values, or-ed. Raises BadFilter, BadCursor."""
    if sort not in SORTS:
        raise BadFilter(f"sort: no order {sort!r}", allowed=list(SORTS))
    chosen = select(Job).where(*conditions(principal, filters))
    total = None
    if count:
        some = chosen.with_only_columns(Job.id).limit(MOST_COUNTED).subquery()
        total = session.scalar(select(func.count()).select_from(some))
    column, falling = _column(sort), sort.startswith("-")
    bound = _bound(principal, filters, sort)
    if cursor is not None:
        value, last = _open(cursor, bound)
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        beyond = column < at if falling else column > at
        chosen = chosen.where(or_(beyond, and_(column == at, Job.id < last if falling else Job.id > last)))
    order = (column.desc(), Job.id.desc()) if falling else (column, Job.id)
    chosen = chosen.options(defer(Job.spec), defer(Job.sent))  # no list shows them, and they are most of a row
    rows = session.execute(_with(chosen, column).order_by(*order).limit(limit + 1)).all()
    jobs = [row[0] for row in rows[:limit]]
    more = len(rows) > limit
    return Page(jobs, _seal(rows[limit - 1][1], jobs[-1].id, bound) if more else None, total)


def conditions(principal: Principal, filters: Mapping[str, Sequence[str]]) -> list[ColumnElement[bool]]:
    """Filters as SQL, and what the principal may see. Raises BadFilter naming what is allowed."""
    found: list[ColumnElement[bool]] = [Job.deleted_at.is_(None)]
    if principal.project is not None:
        found.append(Job.project == principal.project)
    for name, values in filters.items():
        if name.startswith("label."):
            key = name.removeprefix("label.")
            found.append(or_(*(Job.labels.contains({key: value}) for value in values)))
        elif name not in FILTERS:
            raise BadFilter(f"there is no filter {name!r}", allowed=[*FILTERS, "label.<key>"])
        else:
            found.append(or_(*(_condition(name, value) for value in values)))
    return found


def _condition(name: str, value: str) -> ColumnElement[bool]:
    if name in ("submitted_after", "submitted_before"):
        at = _time(name, value)
        return Job.submitted_at > at if name == "submitted_after" else Job.submitted_at < at
    if name == "name":
        return Job.name.startswith(value, autoescape=True)
    if name == "dataset":
        title, _, version = value.partition("@")
        named = select(Dataset.id).where(Dataset.name == title)
        return Job.dataset_id.in_(named.where(Dataset.version == int(version)) if version.isdecimal() else named)
    if name == "checkpoint":
        return Job.checkpoint_id == _id(name, value)
    if name == "node":
        there = select(Attempt.job_id).join(Part, Part.attempt_id == Attempt.id).join(Node, Node.id == Part.node_id)
        return Job.id.in_(there.where(Node.name == value))
    known = {"state": [str(state) for state in JobState], "kind": list(KINDS)}.get(name)
    if known is not None and value not in known:
        raise BadFilter(f"{name}: there is no {value!r}", allowed=known)
    columns: dict[str, SQLColumnExpression[Any]] = {
        "state": Job.state,
        "kind": Job.kind,
        "owner": Job.owner,
        "project": Job.project,
        "reason": Job.reason,
    }
    return columns[name] == (JobState(value) if name == "state" else value)


def _time(name: str, value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadFilter(f"{name}: {value!r} is no RFC 3339 time, like 2026-11-22T08:00:00Z") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _id(name: str, value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as error:
        raise BadFilter(f"{name}: {value!r} is no id") from error


def _column(sort: str) -> SQLColumnExpression[Any]:
    columns: dict[str, SQLColumnExpression[Any]] = {
        "submitted_at": Job.submitted_at,
        "ended_at": func.coalesce(Job.ended_at, literal_column(NEVER)),
        "priority": Job.priority,
    }
    return columns[sort.removeprefix("-")]


def _with(chosen: Select[Job], column: SQLColumnExpression[Any]) -> Select[Job, Any]:
    return chosen.add_columns(column.label("place"))


def _bound(principal: Principal, filters: Mapping[str, Sequence[str]], sort: str) -> str:
    """What a cursor belongs to."""
    return json.dumps([principal.project, sort, sorted((name, sorted(values)) for name, values in filters.items())])


def _sign(body: bytes, bound: str) -> str:
    key = settings().installation.encode()
    return hmac.new(key, body + bound.encode(), hashlib.sha256).hexdigest()[:32]


def _seal(value: Any, last: UUID, bound: str) -> str:
    plain = value.isoformat() if isinstance(value, datetime) else value
    body = json.dumps([plain, str(last)]).encode()
    return base64.urlsafe_b64encode(_sign(body, bound).encode() + body).decode().rstrip("=")


def _open(cursor: str, bound: str) -> tuple[Any, UUID]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, body = raw[:32].decode("ascii"), raw[32:]
        if not hmac.compare_digest(signature, _sign(body, bound)):
            raise BadCursor
        value, last = json.loads(body)
        return value, UUID(last)
    except ValueError as error:
        raise BadCursor from error
