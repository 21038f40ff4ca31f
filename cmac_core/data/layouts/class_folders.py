"""One folder a class, or one folder a split with a folder a class in it."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from cmac_core.data.sources import Item, items_in_folder

PARTS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test", "testing": "test"}


def list_class_folders(root: Path) -> list[Item]:
    """An item a file: class, and split when the first folders are all named like splits.

    Raises ValueError: no media, or files outside of all folders.
    """
    items = items_in_folder(root)
    places = [PurePosixPath(item.source) for item in items]
    loose = [file for file in places if len(file.parts) == 1]
    if loose:
        raise ValueError(
            f"layout folder: {len(loose)} of {len(items)} media files lie in {root} itself, {loose[0]} for one; "
            "give a folder that has a folder for each class"
        )
    divided = all(file.parts[0] in PARTS and len(file.parts) > 2 for file in places)
    return [replace(item, labels=_labels(file)) if divided else item for item, file in zip(items, places, strict=True)]


def _labels(file: PurePosixPath) -> dict[str, str]:
    return {"class": str(PurePosixPath(*file.parent.parts[1:])), "split": PARTS[file.parts[0]]}
