"""HMDB51 (METHOD 7.1): {class}/{file}.avi and testTrainMulti_7030_splits, three official splits.

A video's class is the name of the list that it stands in, never a position in a sorted list.
"""

import re
from collections import Counter
from pathlib import Path

from cmac_core.data.layouts.lines import Line, check_count, check_label, misfit, read_lines
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like

ABOUT = About(
    "hmdb51",
    "HMDB51",
    "testTrainMulti_7030_splits/ ({class}_test_split1.txt to 3)",
    "{class}/{name}.avi",
    "the folder that holds both the class folders and testTrainMulti_7030_splits/",
)
CLASSES = (
    "brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword",
    "dribble", "drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug",
    "jump", "kick", "kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup",
    "ride_bike", "ride_horse", "run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp",
    "smile", "smoke", "somersault", "stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw",
    "turn", "walk", "wave",
)  # fmt: skip
SPLITS, VIDEOS = (1, 2, 3), 6_766
COUNTS = {"train": 3570, "test": 1530, "unused": 1666}
FLAGS = {"1": "train", "2": "test", "0": "unused"}
CLASS_LIST = "class_list.txt"
_LIST = re.compile(r"(\w+)_test_split([123])\.txt")
_TAGS = r"_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+\.avi"


def read(tree: Tree) -> list[Row]:
    """A row a video: class, split1 to split3 (train, test or unused). Raises ValueError."""
    lists = tree.lists(like(r"\w+_test_split[123]\.txt|class_list\.txt"), ABOUT)
    _check_lists(lists)
    rows: dict[str, dict[str, str]] = {}
    for split in SPLITS:
        column = f"split{split}"
        for name in CLASSES:
            for line in read_lines(lists[f"{name}_test_split{split}.txt"], ABOUT.title):
                file, part = _listed(line, name)
                row = rows.setdefault(f"{name}/{file}", {"class": name})
                if column in row:
                    raise ValueError(f"{line.where}: {file} stands there twice")
                row[column] = part
        found = Counter(row.get(column) for row in rows.values())
        for part, count in COUNTS.items():
            check_count(f"{part} videos of split {split}", found[part], count)
    check_count("videos in all splits", len(rows), VIDEOS)
    return [Row(file, labels) for file, labels in rows.items()]


def _check_lists(lists: dict[str, Path]) -> None:
    """The class list, where there is one, and a list of each class and split."""
    if CLASS_LIST in lists:
        lines = read_lines(lists[CLASS_LIST], ABOUT.title)
        for line in lines:
            check_label(line.where, line.text, CLASSES, "HMDB51's class list")
        check_count(f"classes in {CLASS_LIST}", len({line.text for line in lines}), len(CLASSES))
    for file in lists:
        if found := _LIST.fullmatch(file):
            check_label(file, found[1], CLASSES, "HMDB51's class list")
    wanted = [f"{name}_test_split{split}.txt" for name in CLASSES for split in SPLITS]
    absent = [name for name in wanted if name not in lists]
    if absent:
        shown = ", ".join(absent[:3])
        raise ValueError(f"layout hmdb51: {len(absent)} of {len(wanted)} lists are not there: {shown}, ...")


def _listed(line: Line, name: str) -> tuple[str, str]:
    """File and part of one line; the file's own name must speak of the same class."""
    file, _, flag = line.text.rpartition(" ")
    file = file.strip()
    if flag not in FLAGS or not file.endswith(".avi") or "/" in file:
        raise misfit(line, "'file.avi 1' (1 train, 2 test, 0 unused)")
    if not re.search(rf"_{name}{_TAGS}$", file):
        raise ValueError(f"{line.where}: {file} is not a video of {name} by its own name")
    return file, FLAGS[flag]
