"""What endpoints get: one transaction a request, or none where they only read; and checks that come before them."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from store.database import readers, sessions
from store.errors import BadFilter, BadRequest

LABEL = "label."


def open_session() -> Iterator[Session]:
    """One transaction a request: committed when the endpoint returns, undone when it raises."""
    with sessions.begin() as session:
        yield session


# Scope "function" commits before the response leaves: a 202 always means that the row is there.
SessionDep = Annotated[Session, Depends(open_session, scope="function")]


async def open_reading() -> AsyncIterator[Session]:
    """Without a transaction, for what is asked for most and only reads. No thread: it waits for nothing."""
    with readers() as session:
        yield session


ReadingDep = Annotated[Session, Depends(open_reading, scope="function")]


async def check_parameters(request: Request) -> None:
    """A misspelt query parameter is an error, not silence. Raises BadFilter with `allowed`."""
    if not request.query_params:
        return
    allowed = _parameters(request)
    for name, value in request.query_params.multi_items():
        labelled = name.startswith(LABEL) and f"{LABEL}NAME" in allowed
        if name not in allowed and not labelled:
            shown = ", ".join(allowed) or "none"
            raise BadFilter(f"{request.url.path} has no parameter {name[:64]!r}; it knows: {shown}", allowed=allowed)
        if "\0" in name or "\0" in value:
            raise BadRequest(f"the parameter {name[:64]!r} holds a NUL character")


def _parameters(request: Request) -> list[str]:
    """What this path takes."""
    route = request.scope.get("route")
    found = get_flat_params(route.dependant) if isinstance(route, APIRoute) else []
    return sorted(one.alias for one in found if isinstance(one.field_info, params.Query))
