"""Limits and shares of users and projects: `user:ana`, `project:video`. Limits count GPU jobs alone (RULINGS 21)."""

from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from store import audit, notices
from store.errors import NotFound
from store.keys import Principal, Role
from store.policy import Limit, Limits
from store.states import WAITING
from store.tables import Job, Project, Quota, User

FIELDS = ("max_gpus", "max_running", "max_queued", "share")


def put(session: Session, subject: str, values: dict[str, Any], principal: Principal) -> Quota:
    """Set all of a subject's limits; what is not given is without limit. Raises Forbidden, NotFound."""
    principal.require_for_lab(Role.admin)
    _check(session, subject)
    before = _told(session.get(Quota, subject))
    whole = {name: values.get(name) for name in FIELDS} | {"share": values.get("share") or 1.0}
    session.execute(
        insert(Quota).values(subject=subject, **whole).on_conflict_do_update(index_elements=["subject"], set_=whole)
    )
    audit.write(session, principal, "quota.put", subject, before=before, after=whole)
    notices.notify(session, notices.QUEUE)
    return session.get_one(Quota, subject, populate_existing=True)


def remove(session: Session, subject: str, principal: Principal) -> None:
    """Back to no limits and a share of 1. Raises Forbidden, NotFound."""
    principal.require_for_lab(Role.admin)
    before = session.get(Quota, subject)
    if before is None:
        raise NotFound(f"{subject} has no quota")
    audit.write(session, principal, "quota.remove", subject, before=_told(before))
    session.execute(delete(Quota).where(Quota.subject == subject))
    notices.notify(session, notices.QUEUE)


def listed(session: Session) -> list[Quota]:
    """All quotas by subject."""
    return list(session.scalars(select(Quota).order_by(Quota.subject)))


def limits(session: Session) -> Limits:
    """What the policy needs of them."""
    return {one.subject: Limit(one.max_gpus, one.max_running, one.share) for one in listed(session)}


_WAITING = (
    select(
        func.count(),
        select(Quota.max_queued).where(Quota.subject == bindparam("subject")).scalar_subquery(),
    )
    .select_from(Job)
    .where(Job.owner == bindparam("user"), Job.state.in_(WAITING))
)


def waiting(session: Session, user: str, default: int) -> tuple[int, int]:
    """How many jobs of a user wait, and how many may; `default`: without a limit of their own."""
    used, most = session.execute(_WAITING, {"user": user, "subject": f"user:{user}"}).one()
    return used, default if most is None else most


def _check(session: Session, subject: str) -> None:
    kind, _, name = subject.partition(":")
    tables: dict[str, type[User] | type[Project]] = {"user": User, "project": Project}
    if kind not in tables or not name:
        raise NotFound(f"{subject!r} is neither user:NAME nor project:NAME")
    if session.scalar(select(tables[kind].id).where(tables[kind].name == name)) is None:
        raise NotFound(f"there is no {kind} {name}")


def _told(quota: Quota | None) -> dict[str, Any] | None:
    return None if quota is None else {name: getattr(quota, name) for name in FIELDS}
