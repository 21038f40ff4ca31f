"""From the rows that a set's annotations list to the files that are there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cmac_core.data.layouts.tree import SHOWN, About, Tree
from cmac_core.data.sources import Item, spelled


@dataclass(frozen=True)
class Row:
    """One listed file: where it lies in the set as distributed, its labels, and other names it is often given."""

    file: str
    labels: dict[str, str]
    also: tuple[str, ...] = ()  # stems
    at: PurePosixPath | None = None  # where it lies, when that is known already

    @property
    def id(self) -> str:
        """The path as distributed, without its extension: the same wherever the file lies."""
        return str(PurePosixPath(self.file).with_suffix(""))


def items_of(tree: Tree, rows: Sequence[Row], about: About) -> list[Item]:
    """An item for each row, sorted by id; a file is found by its name wherever it lies below the source.

    Raises ValueError when files are missing and the tree does not allow it, or when none is there.
    """
    items = []
    for row in rows:
        listed = PurePosixPath(row.file)
        file = row.at or tree.media_of((listed.stem, *row.also), listed.parent.name)
        found = None if file is None or not (tree.root / file).is_file() else tree.root / file
        items.append(Item(row.id, row.file if file is None else spelled(file), found, row.labels))
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise ValueError(f"source: {twice[0]} is there with two extensions; keep one file of that name")
    missing = [item.source for item in items if item.path is None]
    if missing and (len(missing) == len(items) or not tree.allow_missing):
        raise ValueError(_missing(tree, missing, len(items), about))
    return sorted(items, key=lambda item: item.id)


def _missing(tree: Tree, missing: list[str], of: int, about: About) -> str:
    names = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
    if len(missing) < of:
        return (
            f"layout {about.layout}: {len(missing)} of the {of} listed files are not below {tree.root}: {names}; "
            "add them, or set allow_missing to leave them out"
        )
    return (
        f"layout {about.layout}: none of the {of} listed files is below {tree.root}; looked for {about.media} in all "
        f"folders ({names}); there is: {tree.described()}; give {about.give}"
    )
