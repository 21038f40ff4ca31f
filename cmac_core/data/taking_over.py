"""Take over what other packs have packed: their clips by hard link, their entries into the journal."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from cmac_core.data.journal import Entry, Journal, read_journal
from cmac_core.data.pack_task import NO_ROOM, NoRoom
from cmac_core.data.sources import Item


def take_over(
    items: Sequence[Item],
    fingerprints: Sequence[str],
    folders: Sequence[Path],
    journal: Journal,
    partial: Path,
    told: Callable[[int, int], None],
) -> None:
    """Settle every item that one of the folders has packed from the same file in the same form.

    A clip is linked, or copied where its disk is another one. What is settled already stays. What the folders do not
    have is left open, and so is a clip that is no longer whole, since the journal looks at its size.
    `told(done, of)` is called for each item, and may raise to stop. Raises NoRoom.
    """
    journals = [(folder, read_journal(folder)) for folder in folders]
    for done, (item, mark) in enumerate(zip(items, fingerprints, strict=True), 1):
        if journal.done(item.id, mark) is None:
            for folder, entries in journals:
                entry = entries.get(item.id)
                if entry is not None and entry.fingerprint == mark and _taken(entry, folder, journal, partial):
                    break
        told(done, len(items))


def _taken(entry: Entry, folder: Path, journal: Journal, partial: Path) -> bool:
    if entry.clip is not None:
        try:
            _place(folder / entry.clip.path, journal.output / entry.clip.path, partial)
        except FileNotFoundError:
            return False
    journal.add(entry)
    return True


def _place(source: Path, target: Path, partial: Path) -> None:
    """One more name for a file, or a copy of it; the target appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        try:
            os.link(source, partial)
        except FileNotFoundError:
            raise
        except OSError:  # another disk, a file system without links, or too many of them
            shutil.copyfile(source, partial)
        partial.replace(target)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(error.errno, str(error)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)  # replacing a file by a link to itself leaves both names
