"""A job's log by pages of bytes, and live over its attempts."""

from collections.abc import Iterator
from typing import NamedTuple

from client.connection import Connection
from client.streams import follow

PAGE_BYTES = 1 << 20


class LogPage(NamedTuple):
    """Text of one attempt's log, and where it goes on. `epoch` counts attempts; 0: none has begun.

    `part`: of `parts` machines, each with a log of its own, the one that wrote it.
    """

    text: str
    epoch: int
    next_offset: int
    part: int = 0
    parts: int = 1


def read_log(
    connection: Connection, job: str, tail: int | None = None, part: int = 0, epoch: int | None = None
) -> LogPage:
    """The whole log of one part of an attempt, the newest without `epoch`; or its last `tail` lines."""
    page = _page(connection, job, part, tail=tail, epoch=epoch)
    parts = [page.text]
    while tail is None and page.text and page.epoch:
        page = _page(connection, job, part, offset=page.next_offset, epoch=page.epoch)
        parts.append(page.text)
    return page._replace(text="".join(parts))


def follow_log(connection: Connection, job: str, behind: LogPage) -> Iterator[str]:
    """Text behind a page until the job is final, over all further attempts; resumes when the connection breaks."""
    at = f"{behind.epoch}.{behind.next_offset}" if behind.epoch else ""
    for event in follow(connection, f"/jobs/{job}/logs/stream", {"part": behind.part or None}, last_id=at):
        if event.type == "log":
            yield str(event.data["text"])
        elif event.type == "attempt" and event.data["epoch"] > 1:
            yield f"--- attempt {event.data['epoch']} ---\n"


def _page(
    connection: Connection,
    job: str,
    part: int,
    *,
    offset: int | None = None,
    epoch: int | None = None,
    tail: int | None = None,
) -> LogPage:
    wanted = {"offset": offset, "limit": PAGE_BYTES, "epoch": epoch, "tail": tail, "part": part or None}
    answer = connection.get(f"/jobs/{job}/logs", wanted)
    begun, behind, parts = (int(answer.headers.get(name, 0)) for name in ("X-Epoch", "X-Next-Offset", "X-Parts"))
    return LogPage(answer.text, begun, behind, part, max(1, parts))
