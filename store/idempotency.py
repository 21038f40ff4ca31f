"""A request that creates may be sent twice and happens once (API 2.5)."""

import hashlib
import json
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg.errors
from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from store.errors import IdempotencyInProgress, IdempotencyMismatch
from store.keys import Principal
from store.tables import IdempotencyKey

KEPT = timedelta(hours=24)
WAIT_S = 5  # for the first of two requests to commit


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def fingerprint(method: str, path: str, body: Any) -> str:
    """SHA-256 of method, path and canonical body."""
    canonical = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def begin(session: Session, principal: Principal, key: str, fingerprint: str) -> Answer | None:
    """Reserve the key in this transaction; the first answer when it was used before.

    Raises IdempotencyMismatch (another request), IdempotencyInProgress (the first has not committed after 5 s).
    """
    mine = (IdempotencyKey.principal == _owner(principal), IdempotencyKey.key == key)
    session.execute(delete(IdempotencyKey).where(*mine, IdempotencyKey.expires_at < func.now()))
    if _reserve(session, principal, key, fingerprint):
        return None
    row = session.execute(
        select(IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.headers, IdempotencyKey.body).where(
            *mine
        )
    ).first()
    if row is None or row.status is None:
        raise IdempotencyInProgress
    if row.fingerprint != fingerprint:
        raise IdempotencyMismatch
    return Answer(row.status, row.headers or {}, row.body or {})


def keep(session: Session, principal: Principal, key: str, answer: Answer) -> None:
    """Store the answer in the transaction that began."""
    mine = (IdempotencyKey.principal == _owner(principal), IdempotencyKey.key == key)
    session.execute(
        update(IdempotencyKey).where(*mine).values(status=answer.status, headers=answer.headers, body=answer.body)
    )


def expired() -> ColumnElement[bool]:
    """Which keys are past their 24 h."""
    return IdempotencyKey.expires_at < func.now()


def forget_expired(session: Session) -> int:
    """Remove keys past their 24 h; how many."""
    gone = delete(IdempotencyKey).where(expired()).returning(IdempotencyKey.key)
    return len(session.scalars(gone).all())


def _reserve(session: Session, principal: Principal, key: str, fingerprint: str) -> bool:
    """Insert the key; the unique index makes a second request wait for the first one's commit."""
    row = {"principal": _owner(principal), "key": key, "fingerprint": fingerprint}
    new = insert(IdempotencyKey).values(**row, expires_at=func.now() + KEPT).on_conflict_do_nothing()
    try:
        with session.begin_nested():
            session.execute(text(f"SET LOCAL lock_timeout = '{int(WAIT_S * 1000)}ms'"))
            reserved = session.scalar(new.returning(IdempotencyKey.key)) is not None
            session.execute(text("SET LOCAL lock_timeout = DEFAULT"))
            return reserved
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise IdempotencyInProgress from error
        raise


def _owner(principal: Principal) -> str:
    return principal.key or principal.user
