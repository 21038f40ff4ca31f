"""A job's log by pages of bytes, and live over its attempts."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from client.connection import Connection
from client.job import Job

PAGE_BYTES = 1 << 20
_POLL_S = 1.0


class LogPage(NamedTuple):
    """Text of the log of one attempt, and where the next page begins."""

    text: str
    epoch: int | None
    next_offset: int
    size: int


def read_page(
    connection: Connection, job: str, offset: int, epoch: int | None = None, limit: int = PAGE_BYTES
) -> LogPage:
    """One page, cut at a line's end. Without `epoch` the newest attempt's."""
    answer = connection.get(f"/jobs/{job}/logs", {"offset": offset, "limit": limit, "epoch": epoch})
    headers = answer.headers
    at = headers.get("X-Epoch")
    following = int(headers.get("X-Next-Offset", offset + len(answer.content)))
    return LogPage(answer.text, int(at) if at else None, following, int(headers.get("X-Log-Size", following)))


def read_log(connection: Connection, job: str, tail: int | None = None) -> LogPage:
    """The newest attempt's whole log, or its last `tail` lines."""
    if tail is not None:
        return _tail(connection, job, tail)
    parts, page = [], read_page(connection, job, 0)
    while page.text:
        parts.append(page.text)
        page = read_page(connection, job, page.next_offset, page.epoch)
    return page._replace(text="".join(parts))


def _tail(connection: Connection, job: str, lines: int) -> LogPage:
    size = read_page(connection, job, 0, limit=1024).size
    span = max(200 * lines, 4096)
    while True:
        start = max(size - span, 0)
        parts, page = [], read_page(connection, job, start)
        while page.text:
            parts.append(page.text)
            page = read_page(connection, job, page.next_offset, page.epoch)
        # A page that begins inside the log may begin inside a line.
        found = "".join(parts).splitlines(keepends=True)[1 if start else 0 :]
        if len(found) >= lines or start == 0:
            return page._replace(text="".join(found[-lines:] if lines else []))
        span *= 4


def follow_log(job: Job, connection: Connection, page: LogPage) -> Iterator[str]:
    """Text behind `page` until the job is final; a new attempt is announced and read from its start."""
    while True:
        final = job.refresh().final
        newest = read_page(connection, job.id, 0, limit=1024)
        if newest.epoch is not None and newest.epoch != page.epoch:
            # The rest of the old attempt first.
            if page.epoch is not None:
                yield read_page(connection, job.id, page.next_offset, page.epoch).text
                yield f"--- attempt {newest.epoch} ---\n"
            page = LogPage("", newest.epoch, 0, 0)
        while True:
            page = read_page(connection, job.id, page.next_offset, page.epoch)
            if not page.text:
                break
            yield page.text
        if final:
            return
        time.sleep(_POLL_S)
