"""UCF101 (METHOD 7.1): UCF-101/{Class}/v_{Class}_g##_c##.avi and ucfTrainTestlist, three official splits."""

import re
from collections.abc import Mapping
from pathlib import Path

from cmac_core.data.layouts.lines import Line, check_count, check_label, misfit, read_lines
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree, like

ABOUT = About(
    "ucf101",
    "UCF101",
    "ucfTrainTestlist/ (classInd.txt, trainlist01.txt to testlist03.txt)",
    "v_{Class}_g##_c##.avi",
    "the folder that holds both UCF-101/ and ucfTrainTestlist/",
)
CLASS_INDEX = "classInd.txt"
CLASSES, VIDEOS = 101, 13_320
COUNTS = {
    "trainlist01.txt": 9537, "testlist01.txt": 3783,
    "trainlist02.txt": 9586, "testlist02.txt": 3734,
    "trainlist03.txt": 9624, "testlist03.txt": 3696,
}  # fmt: skip
_FILE = re.compile(r"(\w+)/(v_\w+?_(g\d\d)_c\d\d\.avi)(?:\s+(\d+))?")


def read(tree: Tree) -> list[Row]:
    """A row a video: class, group (videos of one recording), split1 to split3. Raises ValueError."""
    lists = tree.lists(like(r"classInd\.txt|(train|test)list0[123]\.txt"), ABOUT)
    absent = [name for name in (CLASS_INDEX, *COUNTS) if name not in lists]
    if absent:
        raise ValueError(f"layout ucf101: the lists lack {', '.join(absent)}; found {', '.join(sorted(lists))}")
    classes = _classes(lists[CLASS_INDEX])
    rows: dict[str, dict[str, str]] = {}
    for name, count in COUNTS.items():
        listed = [_listed(line, classes) for line in read_lines(lists[name], ABOUT.title)]
        check_count(name, len(listed), count)
        _enter(rows, listed, name)
    check_count("videos in ucfTrainTestlist", len(rows), VIDEOS)
    return [Row(file, labels) for file, labels in rows.items()]


def _classes(file: Path) -> dict[str, int]:
    """Number of each class. The official list counts from 1; the train lists say so too."""
    found: dict[str, int] = {}
    for line in read_lines(file, ABOUT.title):
        number, _, name = line.text.partition(" ")
        if not number.isdecimal() or not re.fullmatch(r"\w+", name.strip()):
            raise misfit(line, "a number and a class, as in '1 ApplyEyeMakeup'")
        found[name.strip()] = int(number)
    check_count(f"classes in {file.name}", len(found), CLASSES)
    if sorted(found.values()) != list(range(1, CLASSES + 1)):
        first, last = min(found.values()), max(found.values())
        raise ValueError(f"{file.name} counts {first} to {last}; the official one counts 1 to {CLASSES}")
    return found


def _listed(line: Line, classes: Mapping[str, int]) -> tuple[str, str, dict[str, str]]:
    """Where, file, and labels of one line."""
    found = _FILE.fullmatch(line.text)
    if found is None:
        raise misfit(line, "'Class/v_Class_g01_c01.avi 1'")
    name, file, group, number = found.groups()
    check_label(line.where, name, classes, CLASS_INDEX)
    if number is not None and int(number) != classes[name]:
        raise ValueError(f"{line.where}: {name} is {number} here and {classes[name]} in {CLASS_INDEX}")
    return line.where, f"{name}/{file}", {"class": name, "group": f"{name}_{group}"}


def _enter(rows: dict[str, dict[str, str]], listed: list[tuple[str, str, dict[str, str]]], name: str) -> None:
    part, column = name[: name.index("list")], f"split{int(name[-5])}"
    for where, file, labels in listed:
        row = rows.setdefault(file, labels)
        if column in row:
            raise ValueError(f"{where}: {file} stands twice in split {column[-1]}")
        row[column] = part
