"""CSV that a spreadsheet may open: a header, plain numbers, no text that it would take for a formula."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from api.errors import NotAcceptable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def wants_csv(request: Request, format: str | None) -> bool:
    """By `?format=`, else by Accept. Raises NotAcceptable when it is neither JSON nor CSV."""
    if format is not None:
        return format == "csv"
    accept = request.headers.get("accept", "*/*")
    if "text/csv" in accept:
        return True
    if any(kind in accept for kind in ("*/*", "application/json", "application/*")):
        return False
    raise NotAcceptable(f"there is JSON and CSV, not {accept}", supported=["application/json", "text/csv"])


def csv_answer(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingResponse:
    """The rows are read at once: a cursor of the database does not outlive its transaction."""
    lines = [_line(header), *(_line([_safe(cell) for cell in row]) for row in rows)]
    return StreamingResponse(_chunks(lines), media_type="text/csv; charset=utf-8")


def _chunks(lines: list[str], size: int = 500) -> Iterator[str]:
    for start in range(0, len(lines), size):
        yield "".join(lines[start : start + size])


def _line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
