"""Find files of equal bytes in a listing, before any of them is decoded."""

from collections import defaultdict
from collections.abc import Callable, Container, Sequence

from cmac_core.data.manifest import sha256_of
from cmac_core.data.sources import Item


def duplicates_of(
    items: Sequence[Item], among: Container[str], told: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, str]:
    """For each item that is a copy, the source of the first one (by id) with the same bytes, by the copy's id.

    Files are read only where they may equal one whose id is `among` those that matter. `told(done, of)` is called
    for each file read, and may raise to stop.
    """
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        if item.path is not None and item.path.is_file():
            by_size[item.path.stat().st_size].append(item)
    # Only files of one size can be equal, so most are never read here.
    groups = [alike for alike in by_size.values() if len(alike) > 1 and any(item.id in among for item in alike)]
    done, of = 0, sum(map(len, groups))
    copies = {}
    for alike in groups:
        first_with: dict[str, Item] = {}
        for item in sorted(alike, key=lambda item: item.id):
            assert item.path is not None
            done += 1
            told(done, of)
            try:
                first = first_with.setdefault(sha256_of(item.path), item)
            except OSError:
                continue  # packing it will say why it cannot be read
            if first is not item:
                copies[item.id] = first.source
    return copies
