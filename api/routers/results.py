"""The answer of a job, whatever has become of it, and its attention maps."""

import asyncio
import contextlib
import time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.errors import NotAcceptable
from api.etags import POLL_AGAIN_S, etag, is_known, not_modified
from api.experiment_answers import Format, table_answer
from api.filters import FiltersDep
from api.openapi import CSV, TABLES, Responses, problems
from api.pages import Cursor, Limit, cut
from api.sse import Streams
from api.tables import csv_answer, wants_csv
from api.views.base import ListView
from api.views.data import artifact_url
from api.views.results import result_body
from store import experiment_results, experiments, results
from store.database import transact
from store.keys import Principal

router = APIRouter(prefix="/results", tags=["results"], responses=problems(404, 410))

Wait = Annotated[float, Query(ge=0, le=30, description="Hold the answer so many seconds until something changes.")]
_ANSWERS: Responses = {
    202: {"description": "Not final yet: state, progress, values so far."},
    304: {"description": "Nothing has changed."},
    **TABLES,
    **problems(406, 410),
}
EXPERIMENT = "experiment"
_POLL_S = 1.0
_MOST_MAPS = 10_000


@router.get("", responses=CSV | problems(400, 406), response_model=None)
def list_values(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    filters: FiltersDep,
    limit: Annotated[int, Query(ge=1, le=100_000, description="Values, newest jobs first.")] = 1000,
    format: Literal["json", "csv"] | None = None,
) -> dict[str, Any] | Response:
    """Values over many jobs, one row each."""
    rows = results.page(session, principal, filters, limit)
    if wants_csv(request, format):
        names = [name for name in rows[0] if name != "labels"] if rows else ["job"]
        return csv_answer(names, ([row[name] for name in names] for row in rows))
    return {"items": rows, "next_cursor": None}


@router.get(
    "/{job_id}",
    responses=_ANSWERS,
)
async def get_result(
    job_id: UUID, request: Request, principal: ViewerDep, wait: Wait = 0, format: Format = None
) -> Response:
    """202 while the job, or experiment, is unfinished; 200 with its state when it is final."""
    view = await _view(job_id, principal)
    if wait and not view["final"]:
        view = await _changed(request, principal, job_id, view, time.monotonic() + wait)
    status = 200 if view["final"] else 202
    if view["kind"] == EXPERIMENT:
        return table_answer(request, view, format, status)
    if format not in (None, "json"):
        raise NotAcceptable("a job's result is JSON; GET /results gives CSV of many", supported=["application/json"])
    tag = _tag(view)
    later = {} if view["final"] else {"Retry-After": POLL_AGAIN_S}
    if is_known(request, tag):
        return not_modified(tag, later)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **later}
    return JSONResponse(result_body(view), status, headers=headers)


@router.get("/{job_id}/attention")
def get_attention(
    job_id: UUID,
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    clip: Annotated[str | None, Query(max_length=1000)] = None,
    modality: Literal["video", "audio"] | None = None,
    map: Annotated[Literal["s", "s_hat"] | None, Query(description="Guided target, or own prediction.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[dict[str, Any]]:
    """Maps of an attention job: numbers (`raw`, .npz), picture (`png`) and film with sound (`mp4`) of each."""
    found = results.attention(
        session, job_id, principal, clip=clip, modality=modality, map=map, limit=_MOST_MAPS
    )  # fmt: skip
    rows = [_with_links(row) for row in found]
    return cut(request, response, rows, _name, limit=limit, cursor=cursor)


def _with_links(row: dict[str, Any]) -> dict[str, Any]:
    files = {kind: artifact_url(sha256) for kind, sha256 in row["files"].items()}
    return {name: value for name, value in row.items() if name != "files"} | files


def _name(row: dict[str, Any]) -> str:
    return "\n".join(str(row.get(part)) for part in ("clip", "t0_s", "modality", "map"))


async def _view(job_id: UUID, principal: Principal) -> dict[str, Any]:
    return await run_in_threadpool(transact, lambda session: _found(session, job_id, principal))


def _found(session: Session, job_id: UUID, principal: Principal) -> dict[str, Any]:
    """A job's view or an experiment's. Raises NotFound."""
    if experiments.find(session, job_id, principal) is not None:
        return experiment_results.view(session, job_id, principal)
    return results.view(session, job_id, principal)


def _tag(view: dict[str, Any]) -> str:
    """Another one whenever the view is another one."""
    return f'"{view["tag"]}"' if view["kind"] == EXPERIMENT else etag(view["version"], view["live"])


async def _changed(
    request: Request, principal: Principal, job_id: UUID, view: dict[str, Any], deadline: float
) -> dict[str, Any]:
    """The view once its ETag is another than now, or at the deadline. Counts as a stream."""
    streams: Streams = request.app.state.streams
    streams.slots.check(principal.key)
    before = _tag(view)
    if "if-none-match" in request.headers and not is_known(request, before):
        return view
    with streams.slots.hold(principal.key), streams.wakeups.of(str(job_id)) as woken:
        while (left := deadline - time.monotonic()) > 0 and not await request.is_disconnected():
            woken.clear()
            view = await _view(job_id, principal)
            if _tag(view) != before:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), min(left, _POLL_S))
    return view
