"""Bytes of files: whole, or the one range that was asked for (RFC 9110, 14)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BLOCK = 1 << 18


class Span(NamedTuple):
    """Bytes `start` to before `end` of `size`."""

    start: int
    end: int
    size: int


def wanted_range(request: Request, size: int, etag: str | None = None) -> Span | None:
    """The range of the request; None for the whole file. Several ranges or a malformed one count as none.

    Raises RangeNotSatisfiable when it lies outside.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    unless = request.headers.get("if-range")
    if match is None or match.groups() == ("", "") or (unless is not None and unless != etag):
        return None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < int(first):
        return None
    if start >= size or (not first and int(last) == 0):
        raise RangeNotSatisfiable(f"the file has {size} bytes", size=size)
    return Span(start, end, size)


def part_of(file: Path, span: Span, media_type: str, headers: dict[str, str]) -> Response:
    """206."""
    more = {"Content-Range": f"bytes {span.start}-{span.end - 1}/{span.size}", "Accept-Ranges": "bytes"}
    length = {"Content-Length": str(span.end - span.start)}
    return StreamingResponse(_blocks(file, span), 206, headers | more | length, media_type)


def whole(file: Path, size: int, media_type: str, headers: dict[str, str]) -> Response:
    """200."""
    more = {"Accept-Ranges": "bytes", "Content-Length": str(size)}
    return StreamingResponse(_blocks(file, Span(0, size, size)), 200, headers | more, media_type)


def _blocks(file: Path, span: Span) -> Iterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(span.start)
        left = span.end - span.start
        while left > 0 and (block := opened.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
