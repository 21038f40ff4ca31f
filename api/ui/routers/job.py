"""One job: how it stands, its attempts, curves, log, spec, environment, and what it left."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.sse import Streams
from api.ui.live import JobTail, Position
from api.ui.rendering import page
from api.ui.shown import CurveViewDep
from api.ui.spec_rows import told
from api.views.data import artifact_url
from store import artifacts, checkpoints, job_events, jobs, metrics, results, tries
from store.database import transact
from store.errors import Forbidden
from store.keys import Principal, Scope
from store.states import FINAL
from store.tables import Job

router = APIRouter(prefix="/ui/jobs", include_in_schema=False)

_EVENTS = 200
_CHECKPOINTS = 20
_PICTURES = ("image/png", "image/svg+xml")
_DANGEROUS = ("cancel",)


class Bar(NamedTuple):
    """An attempt's share of a job's life, in thousandths."""

    epoch: int
    left: float
    width: float
    state: str


@router.get("/{job_id}")
def job_page(
    job_id: UUID, request: Request, principal: ViewerDep, session: SessionDep, view: CurveViewDep
) -> HTMLResponse:
    """Everything about one job, live while it lives."""
    job = jobs.get(session, job_id, principal)
    tried = tries.of_job(session, job_id)
    saved = checkpoints.of_job(session, job_id)
    return page(
        request,
        "job.html",
        principal,
        title=job.name or f"{job.kind} {str(job.id)[:8]}",
        here="jobs",
        job=job,
        view=view,
        final=job.state in FINAL,
        position=jobs.position(session, job),
        verbs=jobs.allowed(job) if may_steer(job, principal) else [],
        dangerous=_DANGEROUS,
        edges=jobs.edges(session, job.id),
        tries=tried,
        bars=_bars(job, tried),
        result=results.view(session, job_id, principal),
        spec=told(job.spec),
        checkpoints=saved[:_CHECKPOINTS],
        older=max(0, len(saved) - _CHECKPOINTS),
        exported={one.id: artifacts.encoders_of(session, one) for one in saved[:_CHECKPOINTS]},
        events=job_events.after(session, job_id, max(0, job.event_seq - _EVENTS), _EVENTS),
        curves=metrics.names(session, job_id),
        pictures=_PICTURES,
        url=artifact_url,
    )


@router.get("/{job_id}/stream")
async def stream_job(
    job_id: UUID,
    request: Request,
    principal: ViewerDep,
    after: Annotated[str, Query(max_length=100, description="Where the page stands: seq-epoch.step-epoch.byte.")] = "",
) -> StreamingResponse:
    """Events, points of curves and log of one job in one stream."""
    await run_in_threadpool(transact, lambda session: jobs.get(session, job_id, principal))
    streams: Streams = request.app.state.streams
    position = Position.parse(request.headers.get("last-event-id") or after)
    return streams.open(principal.key, str(job_id), JobTail(job_id, position))


def may_steer(job: Job, principal: Principal) -> bool:
    """Whether buttons would do anything for who looks."""
    try:
        jobs.may_change(job, principal)
        principal.require_scope(Scope.submit)
    except Forbidden:
        return False
    return True


def _bars(job: Job, tries: Sequence[dict[str, Any]]) -> list[Bar]:
    """Attempts along the job's life from its submission to its end, or to now."""
    now = datetime.now(job.submitted_at.tzinfo)
    whole = max(1.0, ((job.ended_at or now) - job.submitted_at).total_seconds())
    bars = []
    for one in tries:
        begin = (one["created_at"] - job.submitted_at).total_seconds()
        end = ((one["exited_at"] or now) - job.submitted_at).total_seconds()
        state = str(one["state"]) if one["exited_at"] is None else "ok" if one["reason"] in (None, "ok") else "failed"
        left = min(996.0, 1000 * begin / whole)
        bars.append(
            Bar(one["epoch"], round(left, 1), round(max(4.0, min(1000.0, 1000 * end / whole) - left), 1), state)
        )
    return bars
