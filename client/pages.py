"""Lists as iterators: the next page is fetched when the last one is used up."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from client.connection import Connection

PAGE = 200  # the most that the service gives at once


def items(connection: Connection, path: str, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
    """The rows of a paged list, in its order; at most `limit` of them."""
    return islice(_all_items(connection, path, limit, filters), limit)


def _all_items(
    connection: Connection, path: str, limit: int | None, filters: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    size = min(limit or PAGE, PAGE)
    cursor = None
    while True:
        page = connection.get(path, {**filters, "limit": size, "cursor": cursor}).json()
        yield from page["items"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return
