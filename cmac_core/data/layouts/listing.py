"""List a data set as it is distributed: the layout's rows, and the files that are there for them."""

from collections.abc import Callable
from pathlib import Path

from cmac_core.data.layouts import audioset, dcase2013, esc50, hmdb51, kinetics400, ucf101, vggsound
from cmac_core.data.layouts.class_folders import list_class_folders
from cmac_core.data.layouts.rows import Row, items_of
from cmac_core.data.layouts.tree import About, Tree
from cmac_core.data.sources import DEFAULT_TABLE, Item, list_items
from cmac_core.specs import Pack

SETS: dict[str, tuple[Callable[[Tree], list[Row]], About]] = {
    "ucf101": (ucf101.read, ucf101.ABOUT),
    "hmdb51": (hmdb51.read, hmdb51.ABOUT),
    "kinetics400": (kinetics400.read, kinetics400.ABOUT),
    "audioset": (audioset.read, audioset.ABOUT),
    "vggsound": (vggsound.read, vggsound.ABOUT),
    "esc50": (esc50.read, esc50.ABOUT),
    "dcase2013": (dcase2013.read, dcase2013.ABOUT),
    "dcase2014": (dcase2013.read, dcase2013.ABOUT),  # the same recordings; see there
}


def list_source(root: Path, spec: Pack) -> list[Item]:
    """Everything that a spec packs from its source, sorted by id; without a layout as `list_items` says.

    Raises ValueError, in a user's words: a wrong root, lists that are not the set's, missing files.
    """
    match spec.layout:
        case None:
            return list_items(root, spec.table, spec.allow_missing)
        case "folder":
            return list_class_folders(root)
        case "table":
            if spec.table is None and not (root / DEFAULT_TABLE).is_file():
                raise ValueError(f"layout table: there is no {DEFAULT_TABLE} in {root}; name the CSV with table.path")
            return list_items(root, spec.table, spec.allow_missing)
        case name:
            read, about = SETS[name]
            tree = Tree(root, spec.media, spec.annotations, spec.allow_missing)
            return items_of(tree, read(tree), about)
