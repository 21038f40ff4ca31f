"""Where fetched things lie: names of the service as paths that stay in their folder."""

import re
from pathlib import Path


def inside(folder: Path, name: str) -> Path:
    """The place of an artifact's name below a folder, whatever the name has in it."""
    parts = [_plain(part) for part in name.split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*(parts or ["unnamed"]))


def labelled(name: str, identity: str) -> str:
    """A folder's name for a job: what it is called, and the start of its id."""
    return "-".join(filter(None, (_plain(name)[:60].strip("-"), identity[:8])))


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+@=-]+", "-", text).lstrip(".")
