"""VGGSound: {id}_{start:06}.mp4 and vggsound.csv (id, start, label, split), or train.csv and test.csv (file, label)."""

from collections import Counter
from pathlib import Path

from cmac_core.data.layouts.kinetics400 import check_classes
from cmac_core.data.layouts.lines import Line, check_count, misfit, read_cells
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like

ABOUT = About(
    "vggsound",
    "VGGSound",
    "vggsound.csv, or train.csv and test.csv",
    "{id}_{start:06}.mp4",
    "the folder that holds the media and the CSV list",
)
CLASSES = 309
COUNTS = {"train": 183_730, "test": 15_446}


def read(tree: Tree) -> list[Row]:
    """A row a video: class, split, youtube_id, time_start (seconds). Raises ValueError."""
    lists = tree.lists(like(r"vggsound\.csv|(vggsound_)?(train|test)\.csv"), ABOUT)
    rows: dict[str, Row] = {}
    labelled = []
    for path in [lists["vggsound.csv"]] if "vggsound.csv" in lists else sorted(lists.values()):
        for where, cells in read_cells(path, ABOUT.title):
            row = _listed(where, cells, path)
            if row.file in rows:
                raise ValueError(f"{where}: {row.file} is listed twice")
            rows[row.file] = row
            labelled.append((where, row.labels["class"]))
    for part, found in Counter(row.labels["split"] for row in rows.values()).items():
        check_count(f"{part} videos", found, COUNTS[part])
    check_classes(labelled, CLASSES)
    return list(rows.values())


def _listed(where: str, cells: list[str], path: Path) -> Row:
    if len(cells) == 4 and cells[1].isdecimal() and cells[3] in COUNTS:
        video, start, label, part = cells
    elif len(cells) == 2 and path.name != "vggsound.csv" and Path(cells[0]).stem[-7:-6] == "_":
        stem, label = Path(cells[0]).stem, cells[1]
        video, start = stem[:-7], stem[-6:]
        part = "train" if "train" in path.name else "test"
    else:
        raise misfit(Line(where, ",".join(cells)), "'id,start,label,split', or in train.csv and test.csv 'file,label'")
    if not start.isdecimal():
        raise misfit(Line(where, ",".join(cells)), "a start in whole seconds")
    labels = {"class": label, "split": part, "youtube_id": video, "time_start": str(int(start))}
    # Both spellings of a clip's name are about.
    return Row(f"{part}/{video}_{int(start):06}.mp4", labels, also=(f"{video}_{int(start)}", video))
