"""Where the embedded servers' files and sockets lie, and whose they are."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.settings import Settings, make_home

LONGEST_SOCKET = 100  # bytes of a socket's path; the system's limit is 107
START_S = 60.0  # a first start makes the database


def sockets(settings: Settings) -> Path:
    """Where sockets lie: in the home, or in a short folder of our own when the home's path cannot be used."""
    inside = settings.root / "run"
    short = len(bytes(inside / "pg" / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET
    if short and not is_hidden(settings):
        return inside
    return Path(tempfile.gettempdir()) / f"cmac-{os.getuid()}-{name_of(settings.root)}"


def is_hidden(settings: Settings) -> bool:
    """Whether root's PostgreSQL, which is another user, cannot pass to the home: below /root, for example."""
    return os.geteuid() == 0 and not others_reach(settings.root.parent)


def others_reach(folder: Path) -> bool:
    """Whether any user may pass through this folder and all above it, as far as they are there."""
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents) if place.exists())


def name_of(path: Path) -> str:
    """A short name for what belongs to a home and lies elsewhere."""
    return hashlib.sha256(bytes(path)).hexdigest()[:12]


def own_folder(folder: Path) -> Path:
    """A folder that only its owner may enter. Raises RuntimeError when it is somebody else's."""
    make_parents(folder)
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid() or folder.is_symlink():
        raise RuntimeError(f"{folder} belongs to another user; move it away")
    folder.chmod(0o700)
    return folder


def make_parents(folder: Path) -> None:
    """What a folder lies in. Root's PostgreSQL is another user, who must pass through the folder of sockets."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0 and folder.parent.stat().st_uid == 0:
        folder.parent.chmod(folder.parent.stat().st_mode | 0o011)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One process at a time starts or stops something."""
    with (make_home(settings) / "embedded.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
