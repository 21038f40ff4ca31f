"""Read annotation files line by line, and say what is wrong with them by file and line."""

import csv
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cmac_core.data.layouts.recognition import recognized


class Line(NamedTuple):
    """One line that says something. `where` names it in messages."""

    where: str
    text: str


def read_lines(file: Path, title: str) -> list[Line]:
    """Lines without their ends, blank ones left out. Raises ValueError for a list of another set, or no text."""
    other = recognized(file)
    if other is not None and other != title:
        raise ValueError(f"{file.name} is a list of {other}, not of {title}: give {title}'s own, or the other layout")
    try:
        text = file.read_text(encoding="utf-8-sig")  # universal newlines: UCF101's and VGGSound's end in CR LF
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is not text in UTF-8: {error}") from error
    lines = [(f"{file.name}, line {number}", line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    return [Line(where, line) for where, line in lines if line]


def read_cells(file: Path, title: str) -> list[tuple[str, list[str]]]:
    """Where, and the cells, of each line of a CSV file. Raises ValueError as `read_lines` does."""
    rows = []
    for line in read_lines(file, title):
        cells = next(csv.reader([line.text], skipinitialspace=True))
        rows.append((line.where, [cell.strip() for cell in cells]))
    return rows


def read_table(file: Path, title: str, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Where, and the cells by column, of a CSV file whose heading has at least these columns."""
    rows = read_cells(file, title)
    heading = rows[0][1] if rows else []
    lacking = [column for column in columns if column not in heading]
    if lacking:
        raise ValueError(
            f"{file.name} is no list of {title}: it has no column {', '.join(lacking)}; "
            f"its first line is {','.join(heading)[:80]!r}"
        )
    for where, cells in rows[1:]:
        if len(cells) != len(heading):
            raise ValueError(f"{where}: {len(cells)} cells, the heading has {len(heading)}")
    return [(where, dict(zip(heading, cells, strict=True))) for where, cells in rows[1:]]


def misfit(line: Line, expected: str) -> ValueError:
    """A line that is not what it should be."""
    return ValueError(f"{line.where}: expected {expected}, found {line.text[:80]!r}")


def check_label(where: str, label: str, classes: Iterable[str], listed_in: str) -> None:
    """Raises ValueError for a label outside of the class list."""
    known = list(classes)
    if label in known:
        return
    near = difflib.get_close_matches(label, known, n=1)
    tip = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"{where}: {label!r} is not in {listed_in} ({len(known)} classes){tip}")


def check_count(what: str, found: int, expected: int) -> None:
    """Raises ValueError: a list of another length is not the official one."""
    if found != expected:
        raise ValueError(
            f"{what}: found {found}, expected {expected}; the list was cut, changed, or is another edition: "
            "get the official one again"
        )
