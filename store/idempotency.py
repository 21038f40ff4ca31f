"""A request that creates may be sent twice and happens once (API 2.5)."""

from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from store.keys import Principal


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def fingerprint(method: str, path: str, body: Any) -> str:
    """SHA-256 of method, path and canonical body."""
    raise NotImplementedError


def begin(session: Session, principal: Principal, key: str, fingerprint: str) -> Answer | None:
    """Reserve the key in this transaction; the first answer when it was used before.

    Raises IdempotencyMismatch (another request), IdempotencyInProgress (the first has not committed after 5 s).
    """
    raise NotImplementedError


def keep(session: Session, principal: Principal, key: str, answer: Answer) -> None:
    """Store the answer in the transaction that began."""
    raise NotImplementedError
