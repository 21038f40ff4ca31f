"""The queue: what runs, what waits and why, the machines; and the list of all jobs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.filters import FiltersDep
from api.pages import Cursor, Limit
from api.sse import Streams
from api.ui.live import BoardTail
from api.ui.rendering import page
from cmac_core.specs import KINDS
from store import board, jobs, nodes
from store.states import FINAL, JobState

router = APIRouter(prefix="/ui", include_in_schema=False)

_ROWS = 50
_ENDED = 20
Filter = Annotated[str, Query(max_length=200)]


@router.get("/queue")
def queue_page(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    owner: Filter = "",
    project: Filter = "",
    kind: Filter = "",
    name: Filter = "",
    first: Annotated[int, Query(alias="from", ge=1, le=10_000)] = 1,
) -> HTMLResponse:
    """Running, waiting with reasons, recently ended, and who has which device."""
    given = {"owner": owner, "project": project, "kind": kind, "name": name}
    filters = {key: [value] for key, value in given.items() if value}
    mark = board.mark(session)  # first: what changes meanwhile is then told
    machines = nodes.inventory(session)
    waiting = board.waiting(session, principal, filters, first - 1, _ROWS)
    return page(
        request,
        "queue.html",
        principal,
        title="Queue",
        here="queue",
        mark=mark,
        given=given,
        kinds=KINDS,
        running=board.active(session, principal, filters),
        places=_places(machines),
        waiting=waiting,
        first=first,
        others=_turned(given, first, waiting.found),
        aside=board.some(session, principal, filters, board.ASIDE, limit=_ROWS),
        ended=board.some(session, principal, filters, FINAL, "-ended_at", _ENDED),
        machines=[_shown(node) for node in machines],
    )


@router.get("/queue/stream")
async def stream_queue(
    request: Request, principal: ViewerDep, mark: Annotated[str, Query(max_length=64)] = ""
) -> StreamingResponse:
    """`changed` whenever the queue page should read itself anew; `mark`: what it was made from."""
    streams: Streams = request.app.state.streams
    return streams.open(principal.key, "queue", BoardTail(mark))


@router.get("/jobs")
def jobs_page(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    filters: FiltersDep,
    sort: str = "-submitted_at",
    limit: Limit = _ROWS,
    cursor: Cursor = None,
) -> HTMLResponse:
    """All jobs, by the same filters and orders as GET /jobs."""
    chosen = {key: kept for key, values in filters.items() if (kept := [value for value in values if value])}
    found = jobs.page(session, principal, chosen, sort, limit, cursor)
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor" and value]
    following = f"/ui/jobs?{urlencode([*query, ('cursor', found.next_cursor)])}" if found.next_cursor else None
    return page(
        request,
        "jobs.html",
        principal,
        title="Jobs",
        here="jobs",
        jobs=found.items,
        following=following,
        given={key: values[0] for key, values in chosen.items()},
        sort=sort,
        sorts=jobs.SORTS,
        kinds=KINDS,
        states=list(JobState),
    )


def _places(machines: Sequence[dict[str, Any]]) -> dict[UUID, str]:
    """Job -> where it runs: gpu-01 GPU 0 1 2."""
    found: dict[UUID, dict[tuple[str, str], list[str]]] = {}
    for node in machines:
        for device in node["devices"]:
            if device["lease"]:
                there = found.setdefault(device["lease"]["job"], {})
                there.setdefault((node["name"], str(device["kind"]).upper()), []).append(str(device["index"]))
    return {
        job: ", ".join(f"{name} {kind} {' '.join(indices)}" for (name, kind), indices in there.items())
        for job, there in found.items()
    }


def _shown(node: Mapping[str, Any]) -> dict[str, Any]:
    """The machine with a row for each device that says something; free CPU slots are many, and counted."""
    quiet = [one for one in node["devices"] if one["kind"] == "cpu" and one["state"] == "ok" and not one["lease"]]
    told = [one for one in node["devices"] if one not in quiet]
    return {**node, "devices": told, "free_slots": len(quiet), "rows": len(told) + bool(quiet)}


def _turned(given: dict[str, str], first: int, found: int) -> dict[str, str]:
    """Addresses of the waiting jobs before and behind those that are shown."""
    kept = {key: value for key, value in given.items() if value}
    starts = {}
    if first > 1:
        starts["before"] = max(1, first - _ROWS)
    if first + _ROWS <= found:
        starts["behind"] = first + _ROWS
    return {name: f"/ui/queue?{urlencode(kept | {'from': str(start)})}" for name, start in starts.items()}
