"""Named folders below which media may be read. Requests name a root and a relative path, never more."""

from pathlib import Path

from sqlalchemy.orm import Session

from store.keys import Principal
from store.tables import Root


def add(session: Session, name: str, path: Path, principal: Principal) -> Root:
    """Operators only. The same again changes nothing. Raises Forbidden, BadRequest (no folder), AlreadyExists."""
    raise NotImplementedError


def listed(session: Session) -> list[Root]:
    raise NotImplementedError


def resolve(session: Session, name: str, path: str) -> Path:
    """An existing folder below the root. Raises ValueError saying what is wrong: unknown root, `..`, absolute, a link
    that leads out, no such folder."""
    raise NotImplementedError
