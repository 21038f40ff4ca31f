"""Small trees of public sets: their genuine annotation files, and media that are only names."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmac_core.data.layouts.listing import list_source
from cmac_core.data.sources import Item
from cmac_core.specs import JOB_SPEC, Pack
from tests.cmac_core.data.made_media import SHARED

ANNOTATIONS = SHARED / "annotations"
UCF101, HMDB51 = ANNOTATIONS / "ucfTrainTestlist", ANNOTATIONS / "testTrainMulti_7030_splits"


def copied(source: Path, target: Path) -> Path:
    """Genuine lists, to be changed at will."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return target


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, layout: str, **fields: Any) -> list[Item]:
    """What a pack of this layout would read; missing media are allowed unless said otherwise."""
    body = {"kind": "pack", "dataset": "d", "source": {"path": "."}, "layout": layout, "allow_missing": True, **fields}
    spec = JOB_SPEC.validate_python(body)
    assert isinstance(spec, Pack)
    return list_source(root, spec)


def counted(items: list[Item], column: str) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for item in items:
        value = item.labels.get(column)
        found[value] = found.get(value, 0) + 1
    return found


def edited(file: Path, change: Callable[[str], str]) -> None:
    """Change a list; the bytes of line ends stay."""
    before = file.read_bytes().decode()
    after = change(before)
    assert after != before, f"nothing in {file.name} was changed"
    file.write_bytes(after.encode())
