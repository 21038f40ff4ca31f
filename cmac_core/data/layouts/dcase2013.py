"""The acoustic scenes of DCASE 2013 (METHOD 7.4): scenes_stereo/ (public) and scenes_stereo_testset/ (private).

There was no challenge in 2014: what is called DCASE2014 trains on the public set and tests on the private one,
which is the column `split`. `fold` divides each set in five, file by file, two of each class in each: with
`where: {"split": "test"}` and `split: {"folds": "fold"}` it is the official rule of 2013 inside the private set.
"""

import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath

from cmac_core.data.layouts.lines import check_label
from cmac_core.data.layouts.rows import Row
from cmac_core.data.layouts.tree import About, Tree

PUBLIC, PRIVATE = "scenes_stereo", "scenes_stereo_testset"
ABOUT = About(
    "dcase2013",
    "DCASE 2013",
    f"{PUBLIC}/ and {PRIVATE}/",
    "{class}##.wav",
    f"the folder that holds {PUBLIC}/ (public) and {PRIVATE}/ (private)",
)
CLASSES = (
    "bus", "busystreet", "office", "openairmarket", "park", "quietstreet", "restaurant", "supermarket",
    "tube", "tubestation",
)  # fmt: skip
OF_CLASS, FOLDS = 10, 5
SETS = {PUBLIC: ("public", "train"), PRIVATE: ("private", "test")}
_NAME = re.compile(r"(.+?)(\d\d)")


def read(tree: Tree) -> list[Row]:
    """A row a recording: class, set, split, fold. Raises ValueError for an incomplete set, unless that is allowed."""
    found: dict[tuple[str, str], list[PurePosixPath]] = defaultdict(list)
    for file in tree.media:
        if file.parent.name in SETS:
            found[file.parent.name, _class(file)].append(file)
    if not found:
        raise ValueError(
            f"layout dcase2013: looked for {ABOUT.media} in {ABOUT.lists} below {tree.root}; there is: "
            f"{tree.described()}; give {ABOUT.give}"
        )
    _check_counts(found, tree.allow_missing)
    rows = []
    for (folder, name), files in found.items():
        for number, file in enumerate(sorted(files, key=lambda file: file.name)):
            kind, part = SETS[folder]
            labels = {"class": name, "set": kind, "split": part, "fold": str(number % FOLDS + 1)}
            rows.append(Row(f"{folder}/{file.name}", labels, at=file))
    return rows


def _class(file: PurePosixPath) -> str:
    """The name without its last two digits."""
    named = _NAME.fullmatch(file.stem)
    if named is None:
        raise ValueError(f"{file}: expected a class and two digits, as in busystreet07.wav")
    check_label(str(file), named[1], CLASSES, "the scenes of DCASE 2013")
    return named[1]


def _check_counts(found: dict[tuple[str, str], list[PurePosixPath]], allow_missing: bool) -> None:
    files = Counter({(folder, name): len(found.get((folder, name), ())) for folder in SETS for name in CLASSES})
    wrong = [f"{folder}/{name} {count}" for (folder, name), count in files.items() if count != OF_CLASS]
    more = any(count > OF_CLASS for count in files.values())
    if wrong and (more or not allow_missing):
        total = {folder: sum(files[folder, name] for name in CLASSES) for folder in SETS}
        shown = ", ".join(wrong[:6]) + (f" and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        tip = "" if more else "; add them, or set allow_missing to go without"
        raise ValueError(
            f"layout dcase2013: found {total[PUBLIC]} public and {total[PRIVATE]} private files, expected 100 and 100, "
            f"{OF_CLASS} of each class; not so: {shown}{tip}"
        )
