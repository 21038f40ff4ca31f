"""What a pack has already done: one line per file in its output, so that it goes on where it was stopped."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cmac_core.data.manifest import Clip, Quarantined
from cmac_core.data.packing import VERSION, Form

JOURNAL = "journal.jsonl"


class Entry(BaseModel):
    """How one file ended. `fingerprint` tells the file's state and the form it was packed in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    fingerprint: str
    clip: Clip | None = None
    quarantined: Quarantined | None = None


class Journal:
    """The entries by id, the last one of each; new ones are appended at once. One writer at a time."""

    def __init__(self, output: Path) -> None:
        self.output = output
        data = _read(output)
        self.entries = _entries(data)
        self._file = (output / JOURNAL).open("ab", buffering=0)
        if (whole := data.rfind(b"\n") + 1) < len(data):
            self._file.truncate(whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def done(self, id: str, fingerprint: str) -> Entry | None:
        """The entry of a file that has not changed since, and whose clip is still there."""
        entry = self.entries.get(id)
        if entry is None or entry.fingerprint != fingerprint:
            return None
        if entry.clip is not None and not self._whole(entry.clip):
            return None
        return entry

    def add(self, entry: Entry) -> None:
        """Write one entry; a single write is never torn by another."""
        self._file.write(entry.model_dump_json().encode() + b"\n")
        self.entries[entry.id] = entry

    def _whole(self, clip: Clip) -> bool:
        try:
            return (self.output / clip.path).stat().st_size == clip.bytes
        except FileNotFoundError:
            return False


def read_journal(output: Path) -> dict[str, Entry]:
    """The entries of another pack's output by id; none when it has no journal. Changes nothing."""
    return _entries(_read(output))


def _read(output: Path) -> bytes:
    try:
        return (output / JOURNAL).read_bytes()
    except FileNotFoundError:
        return b""


def _entries(data: bytes) -> dict[str, Entry]:
    entries = {}
    for line in data[: data.rfind(b"\n") + 1].splitlines():  # a kill may leave half a line
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            continue  # written by another version, or damaged: that file is packed again
        entries[entry.id] = entry
    return entries


def fingerprint(path: Path | None, form: Form, origin: str = "") -> str:
    """Of a file's size and time, or of `origin` when it was generated from that; and of the form."""
    # A file that is not there is one with its own state: when it appears it is packed.
    stat = path.stat() if path is not None and path.exists() and not origin else None
    state = [stat.st_size, stat.st_mtime_ns] if stat else [origin]
    return hashlib.sha256(json.dumps([VERSION, asdict(form), state]).encode()).hexdigest()[:16]
