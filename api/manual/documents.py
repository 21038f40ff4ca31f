"""Where the documents are, and which of them make the manual in which order."""

import re
from functools import cache
from pathlib import Path

INDEX = "docs/index.md"
PICTURES = {".png": "image/png", ".svg": "image/svg+xml"}
_OF_THE_ROOT = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "DECISIONS.md", "CHANGELOG.md")
_PACKED = Path(__file__).parent / "documents"  # what setup.py puts into an installed package
_CHECKOUT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)#\s]+\.md)\)")


@cache
def root() -> Path:
    """The folder of README.md and docs/: the checkout's root, or the copy inside an installed package.

    Raises FileNotFoundError when there is neither.
    """
    for folder in (_PACKED, _CHECKOUT):
        if (folder / INDEX).is_file():
            return folder
    raise FileNotFoundError(f"the manual's documents are neither in {_PACKED} nor in {_CHECKOUT}")


def files(root: Path) -> list[Path]:
    """Everything that the manual is made of below a project's root: documents and pictures, relative to it."""
    found = [Path(name) for name in _OF_THE_ROOT if (root / name).is_file()]
    below = sorted(path.relative_to(root) for path in (root / "docs").rglob("*") if path.is_file())
    return found + [path for path in below if path.suffix in {".md", *PICTURES} and path.name != "API.md"]


@cache
def chapters() -> tuple[Path, ...]:
    """The documents in the order in which the map of the manual (docs/index.md) names them, itself first."""
    index = Path(INDEX)
    named = _LINK.findall((root() / index).read_text(encoding="utf-8"))
    paths = [_plain(index.parent / name) for name in named]
    return (index, *dict.fromkeys(paths))


@cache
def pictures() -> dict[str, Path]:
    """Address below the manual -> file."""
    found = [path for path in files(root()) if path.suffix in PICTURES]
    return {path.relative_to("docs").as_posix(): root() / path for path in found}


def _plain(path: Path) -> Path:
    """Without `..`, and without looking at any disk."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def target(document: Path, link: str) -> Path:
    """The file that a relative link of a document leads to, relative to the root."""
    return _plain(document.parent / link)
