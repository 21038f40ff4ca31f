"""Lists that lead from page to page (API 6)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Query, Request, Response

from api.views.base import ListView
from store.errors import BadCursor

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Rows on a page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """Link: <...>; rel="next", with the filters of this page."""
    if cursor is None:
        return
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    query = urlencode([*kept, ("cursor", cursor)], quote_via=quote)
    response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'


def cut(
    request: Request,
    response: Response,
    items: Sequence[T],
    name: Callable[[T], str],
    *,
    limit: int,
    cursor: str | None,
) -> ListView[T]:
    """One page of a list that is small enough to be read whole. `name` tells an item from all others.

    The cursor names the last item shown, so that what is added in front shifts nothing. Raises BadCursor.
    """
    first = 0
    if cursor is not None:
        last = _decoded(cursor)
        found = next((index for index, item in enumerate(items) if name(item) == last), None)
        if found is None:
            raise BadCursor
        first = found + 1
    page = list(items[first : first + limit])
    more = first + limit < len(items)
    following = base64.urlsafe_b64encode(name(page[-1]).encode()).decode() if page and more else None
    link_next(request, response, following)
    return ListView[T](items=page, next_cursor=following)


def _decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, ValueError) as error:
        raise BadCursor from error
