"""Named folders below which media may be read. Requests name a root and a relative path, never more."""

from pathlib import Path, PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.errors import AlreadyExists, BadRequest
from store.keys import Principal, Role
from store.tables import Root


def add(session: Session, name: str, path: Path, principal: Principal) -> Root:
    """Operators only. The same again changes nothing. Raises Forbidden, BadRequest (no folder), AlreadyExists."""
    principal.require_for_lab(Role.operator)
    if not path.is_absolute():
        raise BadRequest(f"the path of a root must be absolute, not {str(path)!r}")
    if not path.is_dir():
        raise BadRequest(f"{path} is not a folder on the machine of the service")
    there = session.scalar(select(Root).where(Root.name == name))
    if there is not None:
        if Path(there.path) == path.resolve():
            return there
        raise AlreadyExists(f"root {name} is {there.path}; choose another name", existing=name)
    root = Root(name=name, path=str(path.resolve()), created_by=principal.user)
    session.add(root)
    session.flush()
    return root


def listed(session: Session) -> list[Root]:
    """All roots by name."""
    return list(session.scalars(select(Root).order_by(Root.name)))


def resolve(session: Session, name: str, path: str) -> Path:
    """An existing folder below the root.

    Raises ValueError saying what is wrong: unknown root, `..`, absolute, a link that leads out, no such folder.
    """
    folder = _below(session, name, path)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {path!r} below the root")
    return folder


def resolve_file(session: Session, name: str, path: str) -> Path:
    """An existing file below the root. Raises ValueError as `resolve`."""
    file = _below(session, name, path)
    if not file.is_file():
        raise ValueError(f"there is no file {path!r} below the root")
    return file


def _below(session: Session, name: str, path: str) -> Path:
    root = session.scalar(select(Root).where(Root.name == name))
    if root is None:
        known = (
            ", ".join(one.name for one in listed(session)) or "none yet; an operator adds one: cmac root add NAME DIR"
        )
        raise ValueError(f"there is no root {name!r}; known: {known}")
    return below(Path(root.path), path)


def below(root: Path, path: str) -> Path:
    """What `path` leads to below `root`, links followed. Raises ValueError when it leads out."""
    relative = PurePosixPath(path)
    if "\0" in path or "://" in path or relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{path!r} must be a relative path without '..'")
    place = (root / relative).resolve()
    if not place.is_relative_to(root):
        raise ValueError(f"{path!r} leads out of its root")
    return place
