"""ESC-50 (METHOD 7.3): audio/{fold}-{src}-{take}-{target}.wav and meta/esc50.csv, five official folds."""

import re
from collections import Counter

from cmac_core.data.layouts.lines import check_count, read_table
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like

ABOUT = About(
    "esc50", "ESC-50", "meta/esc50.csv", "{fold}-{src}-{take}-{target}.wav", "the folder that holds meta/ and audio/"
)
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
ROWS, FOLDS, CLASSES, ESC10 = 2000, 5, 50, 400
_NAME = re.compile(r"([1-5])-(\d+)-([A-Z])-(\d+)\.\w+")


def read(tree: Tree) -> list[Row]:
    """A row a clip: class (its category) and the columns of the CSV. Raises ValueError."""
    (path,) = tree.lists(like(r"esc50\.csv"), ABOUT).values()
    rows = read_table(path, ABOUT.title, COLUMNS)
    check_count(f"rows in {path.name}", len(rows), ROWS)
    for where, cells in rows:
        _check(where, cells)
    pairs = {(cells["target"], cells["category"]) for _, cells in rows}
    check_count("classes, by target and category", len(pairs), CLASSES)
    for fold, found in Counter(cells["fold"] for _, cells in rows).items():
        check_count(f"clips of fold {fold}", found, ROWS // FOLDS)
    for name, found in Counter(cells["category"] for _, cells in rows).items():
        check_count(f"clips of {name}", found, ROWS // CLASSES)
    check_count("clips of ESC-10", sum(cells["esc10"] == "True" for _, cells in rows), ESC10)
    return [Row(f"audio/{cells['filename']}", _labels(cells)) for _, cells in rows]


def _check(where: str, cells: dict[str, str]) -> None:
    """A file's name says the same as its row."""
    found = _NAME.fullmatch(cells["filename"])
    told = tuple(cells[name] for name in ("fold", "src_file", "take", "target"))
    if found is None or found.groups() != told:
        raise ValueError(
            f"{where}: {cells['filename']} does not say fold {told[0]}, source {told[1]}, take {told[2]} and "
            f"target {told[3]}, as its row does"
        )


def _labels(cells: dict[str, str]) -> dict[str, str]:
    return {"class": cells["category"], **{name: cells[name] for name in COLUMNS if name != "filename"}}
