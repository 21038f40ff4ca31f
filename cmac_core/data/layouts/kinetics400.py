"""Kinetics-400 (METHOD 7.1): {id}_{start:06}_{end:06}.mp4 with its CSV lists, or in class folders without."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from cmac_core.data.layouts.lines import check_count, check_label, read_table
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like
from cmac_core.data.sources import spelled

ABOUT = About(
    "kinetics400",
    "Kinetics",
    "a list (kinetics-400_val.csv, train.csv or the like) or class folders",
    "{id}_{start:06}_{end:06}.mp4",
    "the folder that holds the media, in class folders or with their CSV lists",
)
COLUMNS = ("youtube_id", "time_start", "time_end", "split")
CLASSES = 400
COUNTS = {"val": 19_906}  # of the list as first published; lists of train and test differ between mirrors
PARTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_NAME = re.compile(r"(.{11})_(\d{6})_(\d{6})")
_LIST = like(r"(kinetics[-_]?(400|k400)[-_])?(train|val|validate|validation|test)\.csv|kinetics400[-_.\w]*\.csv")


def read(tree: Tree) -> list[Row]:
    """A row a video: class, split, youtube_id, time_start, time_end (seconds). Raises ValueError."""
    if any(_LIST(file) for file in tree.files) or tree.annotations is not None:
        return _from_lists(tree)
    rows = [row for file in tree.media if (row := _from_folder(file)) is not None]
    if not rows:
        tree.lists(_LIST, ABOUT)  # raises, and says what was looked for
    classes = {row.labels["class"] for row in rows}
    if len(classes) > CLASSES:
        told = f"found {len(classes)} class folders, expected {CLASSES} or fewer"
        raise ValueError(f"layout kinetics400: {told}; is it Kinetics-600 or 700? layout folder takes those")
    return rows


def _from_lists(tree: Tree) -> list[Row]:
    lists = tree.lists(_LIST, ABOUT)
    rows: dict[str, Row] = {}
    labelled: list[tuple[str, str]] = []  # where, label
    for path in sorted(lists.values()):
        for where, cells in read_table(path, ABOUT.title, COLUMNS):
            row = _listed(where, cells)
            if row.file in rows:
                raise ValueError(f"{where}: {row.file} is listed twice")
            rows[row.file] = row
            if "class" in row.labels:
                labelled.append((where, row.labels["class"]))
    found = Counter(row.labels["split"] for row in rows.values())
    for part in found.keys() & COUNTS.keys():
        check_count(f"{part} videos", found[part], COUNTS[part])
    check_classes(labelled, CLASSES)
    return list(rows.values())


def _listed(where: str, cells: dict[str, str]) -> Row:
    start, end = cells["time_start"], cells["time_end"]
    if not (start.isdecimal() and end.isdecimal()):
        raise ValueError(f"{where}: time_start and time_end must be whole seconds, not {start!r} and {end!r}")
    part = PARTS.get(cells["split"])
    if part is None:
        raise ValueError(f"{where}: split is {cells['split']!r}, expected train, val or test")
    labels = {"split": part, "youtube_id": cells["youtube_id"], "time_start": start, "time_end": end}
    label = cells.get("label", "")
    name = f"{cells['youtube_id']}_{int(start):06}_{int(end):06}"
    folder = f"{part}/{label}" if label else part
    return Row(f"{folder}/{name}.mp4", labels | ({"class": label} if label else {}), also=(cells["youtube_id"],))


def _from_folder(file: PurePosixPath) -> Row | None:
    """The row of a file in a class folder, below one of a split or not."""
    found = _NAME.fullmatch(file.stem)
    if found is None or file.parent == PurePosixPath("."):
        return None
    labels = {"class": spelled(PurePosixPath(file.parent.name)), "youtube_id": found[1]}
    labels |= {"time_start": str(int(found[2])), "time_end": str(int(found[3]))}
    part = PARTS.get(file.parent.parent.name)
    return Row(spelled(file), labels | ({"split": part} if part else {}), at=file)


def check_classes(labelled: Iterable[tuple[str, str]], expected: int) -> None:
    """Raises ValueError when there are more or fewer classes; names the line of the rarest one too many."""
    rows = list(labelled)
    counts = Counter(label for _, label in rows)
    known = [label for label, _ in counts.most_common(expected)]
    if len(counts) == expected + 1:  # one too many is a slip of the pen; more of them are another edition
        for where, label in rows:
            check_label(where, label, known, f"the {expected} classes that the lists have most of")
    if counts:
        check_count("classes in the lists", len(counts), expected)
