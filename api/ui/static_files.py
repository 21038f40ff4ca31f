"""What pages load: our own scripts and style, and plotly.js out of the installed wheel."""

import gzip
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

from store.errors import NotFound

FOLDER = Path(__file__).parent / "static"
MEDIA = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PLOTLY = "plotly.min.js"


class StaticFile(NamedTuple):
    """A file as it is sent."""

    media_type: str
    plain: bytes
    packed: bytes  # gzip


def read(name: str) -> StaticFile:
    """Raises NotFound."""
    if name not in _paths():
        raise NotFound(f"no static file {name[:64]!r}")
    return _read(name)


@cache
def version() -> str:
    """Another one whenever one of the files is another: it stands in their addresses, so they may be kept for good."""
    whole = hashlib.sha256()
    for name, path in sorted(_paths().items()):
        whole.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


@cache
def _paths() -> dict[str, Path]:
    """Name -> file. Requests name one of these and nothing else."""
    found = {path.name: path for path in FOLDER.iterdir() if path.suffix in MEDIA}
    spec = importlib.util.find_spec("plotly")  # finds, and does not import
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return found | {PLOTLY: Path(spec.submodule_search_locations[0]) / "package_data" / PLOTLY}


@cache
def _read(name: str) -> StaticFile:
    path = _paths()[name]
    plain = path.read_bytes()
    return StaticFile(f"{MEDIA[path.suffix]}; charset=utf-8", plain, gzip.compress(plain, 6))
