"""AudioSet: {id}_{start_ms}_{end_ms}.mp4 and its segment lists, or a plain list of files such as eval.txt.

A clip has several labels, so there is no column `class`: `labels` holds the display names and `mids` their
identifiers, joined by semicolons (no name holds one). Pretraining needs neither.
"""

import re
from pathlib import Path

from cmac_core.data.layouts.lines import Line, check_count, misfit, read_cells, read_lines, read_table
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like

ABOUT = About(
    "audioset",
    "AudioSet",
    "{balanced_train,unbalanced_train,eval}_segments.csv or eval.txt (and class_labels_indices.csv)",
    "{id}_{start_ms}_{end_ms}.mp4",
    "the folder that holds the media and the lists",
)
NAMES, CLASSES = "class_labels_indices.csv", 527
COUNTS = {"eval.txt": 19_040}
PARTS = {"balanced_train": "train", "unbalanced_train": "train", "train": "train", "eval": "test"}
_FILE = re.compile(r"([\w-]{11})_(\d+)_(\d+)\.\w+")


def read(tree: Tree) -> list[Row]:
    """A row a clip: split (the evaluation set is test), youtube_id, times in ms, labels and mids. Raises ValueError."""
    wanted = rf"{re.escape(NAMES)}|(balanced_train|unbalanced_train|eval)_segments\.csv|(train|eval)\.txt"
    lists = tree.lists(like(wanted), ABOUT)
    names = _names(lists.pop(NAMES)) if NAMES in lists else None
    if not lists:
        raise ValueError(f"layout audioset: {NAMES} is there, and no list of clips; looked for {ABOUT.lists}")
    if any(name.endswith(".csv") for name in lists):
        lists = {name: path for name, path in lists.items() if name.endswith(".csv")}  # they say more
    rows: dict[str, Row] = {}
    for name, path in sorted(lists.items()):
        part = PARTS[name.removesuffix("_segments.csv").removesuffix(".txt")]
        for where, row in _segments(path, part, names) if name.endswith(".csv") else _files(path, part):
            if row.file in rows:
                raise ValueError(f"{where}: {row.file} is listed twice")
            rows[row.file] = row
    return list(rows.values())


def _names(file: Path) -> dict[str, str]:
    """Display name of each identifier."""
    rows = read_table(file, ABOUT.title, ("index", "mid", "display_name"))
    check_count(f"classes in {file.name}", len({cells["mid"] for _, cells in rows}), CLASSES)
    return {cells["mid"]: cells["display_name"] for _, cells in rows}


def _files(file: Path, part: str) -> list[tuple[str, Row]]:
    rows = []
    for line in read_lines(file, ABOUT.title):
        found = _FILE.fullmatch(line.text)
        if found is None:
            raise misfit(line, "'{id}_{start_ms}_{end_ms}.mp4'")
        rows.append((line.where, _row(found[1], int(found[2]), int(found[3]), part, {})))
    if file.name in COUNTS:
        check_count(f"files in {file.name}", len(rows), COUNTS[file.name])
    return rows


def _segments(file: Path, part: str, names: dict[str, str] | None) -> list[tuple[str, Row]]:
    """Google's own lists; their heading says how many segments there are."""
    if names is None:
        raise ValueError(f"layout audioset: {file.name} needs {NAMES} beside it, which names its labels")
    rows: list[tuple[str, Row]] = []
    promised: int | None = None
    for where, cells in read_cells(file, ABOUT.title):
        if cells[0].startswith("#"):
            found = re.search(r"num_segs=(\d+)", ",".join(cells))
            promised = int(found[1]) if found else promised
        else:
            rows.append((where, _segment(where, cells, part, names)))
    if promised is not None:
        check_count(f"segments in {file.name}, whose heading counts them", len(rows), promised)
    return rows


def _segment(where: str, cells: list[str], part: str, names: dict[str, str]) -> Row:
    try:
        video, start, end = cells[0], round(1000 * float(cells[1])), round(1000 * float(cells[2]))
        mids = cells[3].split(",")
    except (ValueError, IndexError):
        raise misfit(Line(where, ",".join(cells)), "'id, start, end, \"labels\"'") from None
    unknown = [mid for mid in mids if mid not in names]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]!r} is not in {NAMES} ({len(names)} classes)")
    labels = {"labels": ";".join(names[mid] for mid in mids), "mids": ";".join(mids)}
    return _row(video, start, end, part, labels)


def _row(video: str, start: int, end: int, part: str, labels: dict[str, str]) -> Row:
    times = {"time_start_ms": str(start), "time_end_ms": str(end)}
    seconds = f"{video}_{start // 1000:06}_{end // 1000:06}"
    return Row(
        f"{part}/{video}_{start}_{end}.mp4", {"split": part, "youtube_id": video, **times, **labels},
        also=(seconds, video, f"Y{video}"),
    )  # fmt: skip
