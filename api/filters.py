"""Which jobs: the filters that lists of jobs and of results share (API 6)."""

from typing import Annotated

from fastapi import Depends, Query, Request

from api.dependencies import LABEL
from store import jobs

Values = Annotated[list[str] | None, Query()]


async def read_filters(
    request: Request,
    state: Values = None,
    kind: Values = None,
    owner: Values = None,
    project: Values = None,
    dataset: Annotated[list[str] | None, Query(description="NAME or NAME@VERSION.")] = None,
    checkpoint: Values = None,
    node: Values = None,
    reason: Values = None,
    name: Annotated[list[str] | None, Query(description="Its beginning.")] = None,
    submitted_after: Values = None,
    submitted_before: Values = None,
    label: Annotated[list[str] | None, Query(alias=f"{LABEL}NAME", description="Value of the label NAME.")] = None,
) -> dict[str, list[str]]:
    """Name -> values. Filters are joined by and, values of one by or; `store` knows what they mean."""
    found: dict[str, list[str]] = {}
    for given, value in request.query_params.multi_items():
        if given in jobs.FILTERS or given.startswith(LABEL):
            found.setdefault(given, []).append(value)
    return found


FiltersDep = Annotated[dict[str, list[str]], Depends(read_filters)]
