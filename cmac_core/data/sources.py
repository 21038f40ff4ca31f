"""List what a pack is to read: the media files of a folder, or those that a table names, with their labels."""

import csv
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cmac_core.data.media import AUDIO_SUFFIXES, MEDIA_SUFFIXES, VIDEO_SUFFIXES
from cmac_core.specs.jobs import LabelTable

DEFAULT_TABLE = "labels.csv"
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Item:
    """One file to pack. `source` is its path relative to the source, `path` where it lies (None: nowhere)."""

    id: str
    source: str
    path: Path | None
    labels: dict[str, str]


@dataclass(frozen=True)
class _Found:
    source: str
    path: Path | None
    labels: dict[str, str]


def list_items(root: Path, table: LabelTable | None, allow_missing: bool) -> list[Item]:
    """Everything to pack below `root`, sorted by id.

    With a table (or a labels.csv at the root) its rows, else every media file, whose class is its folder.
    Raises ValueError, in a user's words, when there is nothing to pack or the table does not fit the files.
    """
    if table is None and (root / DEFAULT_TABLE).is_file():
        table = LabelTable(path=DEFAULT_TABLE, file=_file_column(root / DEFAULT_TABLE))
    return _items(_in_folder(root) if table is None else _in_table(root, table, allow_missing))


def items_in_folder(root: Path) -> list[Item]:
    """Every media file below `root`, sorted by id; its class is its folder. Raises ValueError: there is none."""
    return _items(_in_folder(root))


def _items(found: list[_Found]) -> list[Item]:
    items = [Item(name, one.source, one.path, one.labels) for name, one in zip(_ids(found), found, strict=True)]
    return sorted(items, key=lambda item: item.id)


def _in_folder(root: Path) -> list[_Found]:
    files = [file for file in walk(root) if file.suffix.lower() in MEDIA_SUFFIXES]
    if not files:
        raise ValueError(
            f"source: there are no media files in {root}; looked for {_suffixes(VIDEO_SUFFIXES)} (video) "
            f"and {_suffixes(AUDIO_SUFFIXES)} (sound), in all folders below it"
        )
    folders = {file.parent for file in files}
    labelled = folders != {PurePosixPath(".")}
    return [
        _Found(spelled(file), _regular(root / file), {"class": spelled(file.parent)} if labelled else {})
        for file in files
    ]


def walk(root: Path) -> list[PurePosixPath]:
    """All files below `root`, relative to it; hidden ones and folders behind links are left out."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = PurePosixPath(Path(folder).relative_to(root))
        found += [inside / name for name in sorted(files) if not name.startswith(".")]
    return found


def _in_table(root: Path, table: LabelTable, allow_missing: bool) -> list[_Found]:
    rows = _rows(root, table)
    stems = _stems(root, table.folder) if table.by_stem else {}
    found: dict[str, _Found] = {}
    for line, row in rows:
        named = row.pop(table.file)
        source = PurePosixPath(table.folder, named)
        if table.by_stem:
            source = stems.get(source.with_suffix(""), source)
        _check_inside(source, table, line)
        one = _Found(spelled(source), _regular(root / source), row)
        if found.setdefault(one.source, one) != one:
            raise ValueError(f"{table.path}: line {line} names {named} again, with other labels")
    missing = [one.source for one in found.values() if one.path is None]
    if missing and (len(missing) == len(found) or not allow_missing):
        raise ValueError(_missing(missing, len(found), table))
    return list(found.values())


def _regular(path: Path) -> Path | None:
    """None for what is not there, a link into nothing, or a pipe that would never end."""
    return path if path.is_file() else None


def _rows(root: Path, table: LabelTable) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row."""
    file = root / table.path
    if not file.is_file():
        tables = [str(path) for path in walk(root) if path.suffix.lower() == ".csv"]
        hint = f"; CSV files there: {', '.join(tables[:SHOWN])}" if tables else ""
        raise ValueError(f"table.path: there is no file {table.path} in {root}{hint}")
    columns, rows = _cells(file, table.path)
    if table.file not in columns:
        raise ValueError(f"table.file: {table.path} has no column {table.file!r}; it has {', '.join(columns)}")
    if not rows:
        raise ValueError(f"table.path: {table.path} has a heading and no rows")
    for line, cells in rows:
        if len(cells) != len(columns):
            raise ValueError(f"{table.path}: line {line} has {len(cells)} cells, the heading {len(columns)}")
    return [(line, dict(zip(columns, cells, strict=True))) for line, cells in rows]


def _cells(file: Path, name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            columns = [cell.strip() for cell in next(reader, [])]
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"table.path: {name} is not a CSV file in UTF-8: {error}") from error
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice or not columns or not all(columns):
        raise ValueError(f"table.path: {name} needs a heading of different names, not {', '.join(columns) or 'none'}")
    return columns, rows


def _file_column(file: Path) -> str:
    """The column of labels.csv that names the files: `video`, `audio`, `file` or the like; else its first."""
    columns, _ = _cells(file, DEFAULT_TABLE)
    usual = ("video", "audio", "sound", "file", "filename", "path")
    return next((name for name in usual if name in columns), columns[0] if columns else "video")


def _stems(root: Path, folder: str) -> dict[PurePosixPath, PurePosixPath]:
    """Media files below a folder by their path without extension."""
    stems: dict[PurePosixPath, PurePosixPath] = {}
    for inside in walk(root / folder):
        file = PurePosixPath(folder) / inside
        if file.suffix.lower() not in MEDIA_SUFFIXES:
            continue
        other = stems.setdefault(file.with_suffix(""), file)
        if other != file:
            raise ValueError(f"table.by_stem: {other} and {file} have the same name but for the extension")
    return stems


def _check_inside(source: PurePosixPath, table: LabelTable, line: int) -> None:
    if source.is_absolute() or ".." in source.parts:
        raise ValueError(f"{table.path}: line {line} names {source}, which leads out of the source")


def _missing(missing: list[str], of: int, table: LabelTable) -> str:
    names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
    advice = "check table.folder, table.file and table.by_stem"
    if len(missing) < of:
        advice += ", or set allow_missing to leave them out"
    return f"{table.path}: {len(missing)} of {of} files are not there: {names}; {advice}"


def _ids(found: list[_Found]) -> list[str]:
    """Paths without extension; with it where two files would share one."""
    names = [one.source for one in found]
    ids = [str(PurePosixPath(name).with_suffix("")) for name in names]
    while shared := {name for name, count in Counter(ids).items() if count > 1}:
        # A whole name may be another file's stem (a.mp4.avi): then that one too is written out.
        ids = [name if one in shared else one for one, name in zip(ids, names, strict=True)]
    return ids


def spelled(path: PurePosixPath) -> str:
    """A path as text that any file can hold: bytes that are not UTF-8 are written as \\x.."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


def _suffixes(suffixes: frozenset[str]) -> str:
    return " ".join(sorted(suffixes))
