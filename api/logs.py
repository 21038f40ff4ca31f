"""Log files by the byte: pages that end at a line's end, and the last lines."""

import re
from pathlib import Path
from typing import NamedTuple

_FOLDED = re.compile(rb"[^\n]*\r(?=[^\r\n])")
_RETURNS = re.compile(rb"\r+(?=\n|$)")
_BLOCK = 1 << 16
LONGEST = 1 << 20


class LogPage(NamedTuple):
    """Text from one place of a log on; `next_offset` is the place behind it."""

    text: str
    next_offset: int
    size: int


def read_page(file: Path, offset: int, limit: int, *, growing: bool) -> LogPage:
    """At most `limit` bytes from `offset` on. While the file grows, half a line at its end is left for later."""
    data, size = _read(file, offset, limit)
    end = data.rfind(b"\n") + 1
    whole = offset + len(data) >= size  # the file's last byte is in it
    if end == 0 and (len(data) == limit or not growing):
        end = _character_end(data, whole=whole)  # a line that is longer than a page
    elif whole and not growing:
        end = len(data)
    return LogPage(shown(data[:end]), offset + end, size)


def read_tail(file: Path, lines: int, *, growing: bool) -> LogPage:
    """The last lines, as many as fit into a page of the largest size."""
    size = _size(file)
    start = max(size - LONGEST, 0)
    data, size = _read(file, start, LONGEST)
    end = data.rfind(b"\n") + 1 if growing else len(data)
    kept = data[:end].splitlines(keepends=True)
    if start:
        kept = kept[1:]  # it may begin inside a line
    return LogPage(shown(b"".join(kept[-lines:] if lines else [])), start + end, size)


def shown(data: bytes) -> str:
    """As a person reads it: of a progress line only what it said last; broken UTF-8 replaced."""
    return _RETURNS.sub(b"", _FOLDED.sub(b"", data)).decode(errors="replace")


def _read(file: Path, offset: int, limit: int) -> tuple[bytes, int]:
    try:
        with file.open("rb") as opened:
            opened.seek(offset)
            data = opened.read(limit)
    except FileNotFoundError:
        return b"", 0  # nothing was written yet
    return data, max(_size(file), offset + len(data) if data else 0)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _character_end(data: bytes, *, whole: bool) -> int:
    """Not inside a character of UTF-8, unless nothing follows."""
    if whole:
        return len(data)
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character
            length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if back >= length else len(data) - back
    return len(data)
