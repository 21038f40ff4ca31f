"""A job as it goes on: events, curves and log, live or by pages."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from api import logs
from api.authentication import ViewerDep
from api.dependencies import ReadingDep, SessionDep
from api.openapi import CSV, EVENT_STREAM, TEXT, problems
from api.ranges import part_of, wanted_range
from api.sse import Streams, Tail
from api.tables import csv_answer, wants_csv
from api.tails import EventTail, LogTail, MetricTail
from store import jobs, metrics, tries
from store.database import transact
from store.errors import BadRequest, Gone
from store.keys import Principal
from store.log_files import log_file
from store.settings import settings
from store.states import FINAL
from store.tables import Job

router = APIRouter(prefix="/jobs/{job_id}", tags=["live"], responses=problems(404, 410))

LastEventId = Annotated[str | None, Header(max_length=64, description="Go on exactly behind this event.")]
After = Annotated[str | None, Query(max_length=64, description="The same, where headers cannot be set.")]
Names = Annotated[list[str] | None, Query(description="Curves, repeated or divided by commas.")]
Rank = Annotated[Literal["0"], Query(description="All ranks of a machine write into one log.")]
LogPart = Annotated[int, Query(ge=0, le=10_000, description="Of a job over several machines: which of them, from 0.")]
_NOTHING_FOLLOWS = 204


@router.get("/events/stream", responses=EVENT_STREAM | problems(429), response_class=StreamingResponse)
async def stream_events(
    job_id: UUID, request: Request, principal: ViewerDep, last_event_id: LastEventId = None, after: After = None
) -> Response:
    """Events as they happen: state, checkpoint, warning, artifact, end; waiting and progress live only."""
    job = await _job(job_id, principal)
    numbers = _position(last_event_id or after, 1)
    seq = numbers[0] if numbers else 0
    if numbers and seq > job.event_seq:
        raise BadRequest(f"this job's last event is {job.event_seq}, there is none {seq}")
    if numbers and job.state in FINAL and seq >= job.event_seq:
        return Response(status_code=_NOTHING_FOLLOWS)
    return _stream(request, principal, job_id, EventTail(job_id, seq))


@router.get("/metrics/stream", responses=EVENT_STREAM | problems(429), response_class=StreamingResponse)
async def stream_metrics(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    names: Names = None,
    last_event_id: LastEventId = None,
    after: After = None,
) -> Response:
    """Points of its curves as they come in."""
    job = await _job(job_id, principal)
    numbers = _position(last_event_id or after, 3)
    tail = MetricTail(job_id, _names(names), *numbers)
    if numbers and job.state in FINAL and not await run_in_threadpool(tail.has_more):
        return Response(status_code=_NOTHING_FOLLOWS)
    return _stream(request, principal, job_id, tail)


@router.get("/logs/stream", responses=EVENT_STREAM | problems(400, 410, 429), response_class=StreamingResponse)
async def stream_logs(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    rank: Rank = "0",
    part: LogPart = 0,
    last_event_id: LastEventId = None,
    after: After = None,
) -> Response:
    """What it writes, attempt after attempt."""
    job = await _job(job_id, principal)
    _check_log(job, part)
    numbers = _position(last_event_id or after, 2)
    tail = LogTail(job_id, *numbers, part=part)
    if numbers and job.state in FINAL and not await run_in_threadpool(tail.has_more):
        return Response(status_code=_NOTHING_FOLLOWS)
    return _stream(request, principal, job_id, tail)


@router.get("/logs", response_class=PlainTextResponse, responses=TEXT | problems(400, 410, 416))
def read_logs(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    rank: Rank = "0",
    part: LogPart = 0,
    stream: Annotated[Literal["both"], Query(description="Output and errors are one log.")] = "both",
    epoch: Annotated[int | None, Query(ge=1, le=2**31, description="Of this attempt; without: the newest.")] = None,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=logs.LONGEST)] = 1 << 16,
    tail: Annotated[int | None, Query(ge=0, le=100_000, description="Only the last lines.")] = None,
) -> Response:
    """Its log as text, cut at a line's end; X-Next-Offset is where to go on. `Range` gives the bytes as they are.

    X-Parts tells how many machines, and so how many logs, the attempt has.
    """
    job = jobs.get(session, job_id, principal)
    _check_log(job, part)
    newest = tries.newest(session, job_id)
    last = newest.epoch if newest else 0
    chosen = epoch or last
    file = log_file(settings().attempt_folder(job_id, chosen), part)
    span = wanted_range(request, file.stat().st_size) if chosen and file.is_file() else None
    if span is not None:
        return part_of(file, span, "text/plain; charset=utf-8", {"X-Epoch": str(chosen)})
    growing = chosen == last and job.state not in FINAL
    page = logs.read_tail(file, tail, growing=growing) if tail is not None else None
    page = page or logs.read_page(file, offset, limit, growing=growing)
    headers = {"X-Next-Offset": str(page.next_offset), "X-Log-Size": str(page.size), "Accept-Ranges": "bytes"}
    if chosen:
        headers |= {"X-Epoch": str(chosen), "X-Parts": str(tries.parts_of(session, job_id, chosen))}
    return PlainTextResponse(page.text, headers=headers | {"Cache-Control": "no-store"})


@router.get("/metrics", responses=CSV | problems(400, 406), response_model=None)
def read_metrics(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    session: ReadingDep,
    names: Names = None,
    points: Annotated[int, Query(ge=0, le=20_000, description="About so many a curve; 0: all, as CSV only.")] = 500,
    from_step: Annotated[int, Query(ge=0, le=2**53)] = 0,
    x: Literal["step", "time", "train_epoch"] = "step",
    format: Literal["json", "csv"] | None = None,
) -> Response:
    """Its curves, thinned by bucket with minimum and maximum, so that spikes stay."""
    jobs.check_there(session, job_id, principal)
    chosen = _names(names)
    if wants_csv(request, format):
        return transact(lambda whole: _points_csv(metrics.rows(whole, job_id, chosen, from_step)))
    if points == 0:
        raise BadRequest("all points come as CSV only: add format=csv", allowed=["csv"])
    told = to_json({"series": metrics.series(session, job_id, chosen, points, from_step, x)})
    return Response(told, media_type="application/json")


def _points_csv(rows: Iterable[Any]) -> Response:
    cells = ((row.name, row.step, row.train_epoch, row.value, row.epoch, row.at.isoformat()) for row in rows)
    return csv_answer(("name", "step", "train_epoch", "value", "epoch", "at"), cells)


def _check_log(job: Job, part: int) -> None:
    """Raises Gone (removed by retention), BadRequest (it runs on fewer machines)."""
    if job.logs_removed_at is not None:
        text = f"the logs of job {job.id} were removed {settings().keep_logs_days:g} days after its end"
        raise Gone(text, removed_at=job.logs_removed_at.isoformat())
    if part >= job.nodes:
        most = "part 0 alone" if job.nodes == 1 else f"parts 0 to {job.nodes - 1}"
        raise BadRequest(f"part: job {job.id} has {most}, not {part}", allowed=list(map(str, range(job.nodes))))


async def _job(job_id: UUID, principal: Principal) -> Job:
    """A short transaction: while it streams, a request holds no connection."""
    return await run_in_threadpool(transact, lambda session: jobs.get(session, job_id, principal))


def _stream(request: Request, principal: Principal, job_id: UUID, tail: Tail) -> StreamingResponse:
    streams: Streams = request.app.state.streams
    return streams.open(principal.key, str(job_id), tail)


def _position(text: str | None, most: int) -> list[int]:
    """The numbers of an event's id. Raises BadRequest."""
    if text is None:
        return []
    parts = text.split(".")
    if len(parts) > most or not all(part.isascii() and part.isdecimal() and len(part) <= 15 for part in parts):
        raise BadRequest(f"{text!r} is no id of an event of this stream")
    return [int(part) for part in parts]


def _names(names: list[str] | None) -> list[str] | None:
    found = [name for given in names or () for name in given.split(",") if name]
    return found or None
