"""Who may do what: users, roles, and API keys of which only a hash is kept (API 9)."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cmac_core.specs.problems import FieldProblem
from store.errors import Forbidden, NotFound, Unauthenticated, UnknownReference
from store.tables import ApiKey, Project, User

DEFAULT_PROJECT = "default"
GRACE = timedelta(days=1)  # in which a rotated key still opens
TOKEN = re.compile(r"cmac_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Role(StrEnum):
    """Each may what the ones before it may."""

    viewer = "viewer"
    submitter = "submitter"
    operator = "operator"
    admin = "admin"

    def includes(self, needed: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Scope(StrEnum):
    """What a key may be limited to, within its role; one scope says nothing of another."""

    read = "read"  # whatever changes nothing
    submit = "submit"  # jobs, experiments, webhooks
    operate = "operate"  # machines, roots, projects
    admin = "admin"  # users, quotas, keys

    @property
    def role(self) -> Role:
        """The least role that it is of use to."""
        return {Scope.submit: Role.submitter, Scope.operate: Role.operator}.get(self, Role.viewer)


@dataclass(frozen=True)
class Principal:
    """Who asks. `project` None: all of them. `scopes` None: all that the role may."""

    user: str
    role: Role
    project: str | None = None
    key: str = ""  # the key's prefix: what idempotency keys and limits belong to
    scopes: frozenset[Scope] | None = None

    def require_scope(self, needed: Scope) -> None:
        """Raises Forbidden when the key is limited, and not to this."""
        if self.scopes is not None and needed not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise Forbidden(f"this needs a key with the scope {needed}; yours has {has}", needs_scope=str(needed))

    def require(self, needed: Role) -> None:
        """Raises Forbidden when the role does not include `needed`."""
        if not self.role.includes(needed):
            raise Forbidden(f"this needs the role {needed}; yours is {self.role}", needs_role=str(needed))

    def require_for_lab(self, needed: Role) -> None:
        """For what belongs to no project (machines, roots, quotas). Raises Forbidden for a key of one project too."""
        self.require(needed)
        if self.project is not None:
            text = f"your key is for the project {self.project}; this belongs to the whole lab"
            raise Forbidden(text, needs_role=str(needed))

    def sees(self, project: str) -> bool:
        return self.project is None or self.project == project


SYSTEM = Principal("system", Role.admin)  # the loops


# Said once: one of them is asked with every request, and to put it together takes as long as to run it.
_STALE = func.coalesce(ApiKey.last_used_at < func.now() - timedelta(minutes=1), True)  # once a minute is enough
_SHOWN = (ApiKey.id, ApiKey.prefix, ApiKey.user, ApiKey.role, ApiKey.project, ApiKey.scopes, ApiKey.secret_sha256)
OPENING = (  # keys that open now, each with its user's role
    select(*_SHOWN, User.role.label("users_role"), _STALE.label("stale"))
    .join(User, User.name == ApiKey.user)
    .where(ApiKey.revoked_at.is_(None), ~User.disabled)
    .where(func.coalesce(ApiKey.expires_at > func.now(), True))
)
Opening = Row[UUID, str, str, str, str | None, list[str] | None, str, str, bool]
_BY_PREFIX = OPENING.where(ApiKey.prefix == bindparam("prefix"))


def authenticate(session: Session, token: str) -> Principal:
    """The principal of a key. Raises Unauthenticated without saying what is wrong with it."""
    match = TOKEN.fullmatch(token)
    prefix, secret = match.groups() if match else ("", "")
    key = session.execute(_BY_PREFIX, {"prefix": prefix}).first()
    # Compared also when there is no such key, so that both take the same time.
    known = key.secret_sha256 if key else _sha256("")
    if not hmac.compare_digest(known, _sha256(secret)) or key is None:
        raise Unauthenticated
    return use(session, key)


def use(session: Session, key: Opening) -> Principal:
    """The principal of one of `OPENING`; notes that it was used."""
    if key.stale:
        _touch(session, key.id)
    narrower = min(Role(key.role), Role(key.users_role), key=list(Role).index)
    scopes = None if key.scopes is None else frozenset(map(Scope, key.scopes))
    return Principal(key.user, narrower, key.project, key.prefix, scopes)


def _touch(session: Session, key_id: UUID) -> None:
    # SKIP LOCKED keeps two requests of one key from waiting for each other.
    stale = select(ApiKey.id).where(ApiKey.id == key_id, _STALE).with_for_update(skip_locked=True)
    session.execute(update(ApiKey).where(ApiKey.id.in_(stale)).values(last_used_at=func.now()))


def create_key(
    session: Session,
    user: str,
    name: str,
    role: Role,
    project: str | None = None,
    days: float | None = None,
    scopes: Collection[Scope] | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its token, which is shown this once. Makes the user when missing. Raises UnknownReference."""
    if project is not None and session.scalar(select(Project.id).where(Project.name == project)) is None:
        raise UnknownReference([FieldProblem("/project", f"there is no project {project!r}", project)])
    session.execute(insert(User).values(name=user, role=str(role)).on_conflict_do_nothing())
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(user=user, name=name, prefix=prefix, secret_sha256=_sha256(secret), role=str(role), project=project)
    key.scopes = None if scopes is None else sorted(map(str, scopes))
    if days is not None:
        key.expires_at = session.scalar(select(func.now() + timedelta(days=days)))
    session.add(key)
    session.flush()
    return key, f"cmac_{prefix}_{secret}"


def rotate_key(session: Session, key_id: UUID, principal: Principal, grace: timedelta = GRACE) -> tuple[ApiKey, str]:
    """A new key in the place of a live one, for as long as that had; the old one opens until the grace is over.

    Nobody gets a key this way that may more than theirs. Raises NotFound, Forbidden.
    """
    live = select(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    live = live.where(func.coalesce(ApiKey.expires_at > func.now(), True)).with_for_update()
    old = session.scalar(live.execution_options(populate_existing=True))
    if old is None:
        raise NotFound(f"no live key {key_id}")
    principal.require(Role(old.role))
    scopes = None if old.scopes is None else frozenset(map(Scope, old.scopes))
    require_scopes(principal, scopes)
    if principal.project not in (None, old.project):
        raise Forbidden(f"your key sees project {principal.project} alone", needs_role=str(Role.admin))
    days = (old.expires_at - old.created_at) / timedelta(days=1) if old.expires_at else None
    made = create_key(session, old.user, old.name, Role(old.role), old.project, days, scopes)
    old.expires_at = func.least(ApiKey.expires_at, func.now() + grace)  # least() passes over null
    session.flush()
    return made


def require_scopes(principal: Principal, wanted: frozenset[Scope] | None) -> None:
    """Nobody makes a key that may more than theirs; None is all. Raises Forbidden."""
    for scope in sorted(Scope if wanted is None else wanted):
        principal.require_scope(scope)


def revoke_key(session: Session, prefix: str) -> None:
    """Raises NotFound."""
    revoked = update(ApiKey).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    if session.scalar(revoked.returning(ApiKey.id)) is None:
        raise NotFound(f"no live key {prefix}")


def list_keys(session: Session, user: str | None = None) -> list[ApiKey]:
    """Keys of a user, or all, newest first."""
    query = select(ApiKey).order_by(ApiKey.created_at.desc())
    return list(session.scalars(query.where(ApiKey.user == user) if user else query))


def bootstrap(session: Session) -> str | None:
    """First start: the default project, and an admin key if there is none at all. The token, or None."""
    session.execute(insert(Project).values(name=DEFAULT_PROJECT).on_conflict_do_nothing())
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("cmac bootstrap"))))
    if session.scalar(select(func.count()).select_from(ApiKey)):
        return None
    return create_key(session, "admin", "first key", Role.admin)[1]


def keep_admin_key(home: Path, token: str) -> Path:
    """Write the first key where the command line looks for it, readable by its owner alone."""
    file = home / "admin.key"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(token + "\n")
    file.chmod(0o600)
    return file


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
