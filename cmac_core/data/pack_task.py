"""What a packing process does with one file: pack it, hash it, put it in its place; or say why not."""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cmac_core.data.crew import Alive
from cmac_core.data.manifest import Quarantined, sha256_of
from cmac_core.data.media import Rejected
from cmac_core.data.packing import Form, Packed, pack_file
from cmac_core.data.sources import Item

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class PackTask:
    """One file, where its clip goes, and in which form."""

    item: Item
    output: Path
    path: str  # of the clip, and of it while it is written, relative to the output
    partial: str
    form: Form
    fingerprint: str


class Outcome(NamedTuple):
    """A packed file with its hash, or the reason why there is none."""

    packed: Packed | None = None
    sha256: str = ""
    bytes: int = 0
    quarantined: Quarantined | None = None


class NoRoom(OSError):
    """The output's disk is full."""


def pack_one(task: PackTask, alive: Alive) -> Outcome:
    """Pack one file. Raises NoRoom; all else that goes wrong is the file's, and is told as its quarantine."""
    assert task.item.path is not None
    partial, target = task.output / task.partial, task.output / task.path
    try:
        packed = pack_file(task.item.path, partial, task.form, alive)
        outcome = Outcome(packed, sha256_of(partial), partial.stat().st_size)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        return outcome
    except Rejected as rejected:
        return Outcome(quarantined=Quarantined(source=task.item.source, reason=rejected.reason, detail=rejected.detail))
    except Exception as error:  # recorded: whatever a decoder makes of a damaged file must not end the pack
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise NoRoom(error.errno, str(error)) from error
        detail = f"{type(error).__name__}: {error}"[:500]
        return Outcome(quarantined=Quarantined(source=task.item.source, reason="decode_error", detail=detail))
    finally:
        partial.unlink(missing_ok=True)
