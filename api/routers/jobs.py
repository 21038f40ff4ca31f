"""Jobs: submit, list, look, steer, retry, and what they leave."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.authentication import SubmitterDep, ViewerDep
from api.bodies import Change, Retry, parse_body, parse_spec
from api.dependencies import ReadingDep, SessionDep
from api.etags import IfMatch, check_unchanged, is_known, job_etag, not_modified
from api.filters import FiltersDep
from api.json_bodies import JsonBody, OptionalJsonBody
from api.once import IdempotencyKey, Once
from api.openapi import DRY_RUN, SPEC_BODY, problems, takes
from api.pages import Cursor, Limit, cut, link_next
from api.submitting import estimated, submitted
from api.views.base import ListView, written
from api.views.data import ArtifactView, CheckpointView
from api.views.experiments import ExperimentView
from api.views.jobs import EventView, JobListView, JobRow, JobView
from store import artifacts, checkpoints, deletion, job_events, jobs, tries, verbs
from store.errors import BadCursor
from store.idempotency import Answer
from store.tables import Job

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problems(404, 410))

DryRun = Annotated[bool, Query(description="Check and estimate; store nothing, use up no key.")]
Force = Annotated[bool, Query(description="Do not wait for a checkpoint.")]


@router.post(
    "",
    status_code=202,
    response_model=JobView | ExperimentView,
    openapi_extra=SPEC_BODY,
    responses=DRY_RUN | problems(409, 429),
)
def submit_job(
    request: Request,
    body: JsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    idempotency_key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> Response:
    """Submit one spec, or an experiment that becomes many jobs; `dry_run` only says what would happen."""
    if dry_run:
        return JSONResponse(estimated(session, parse_spec(body), principal))

    def submit() -> Answer:
        return submitted(session, parse_spec(body), principal, body)

    return Once(request, session, principal, idempotency_key).answer(body, submit)


@router.get("", response_model=JobListView, responses=problems(400))
def list_jobs(
    request: Request,
    principal: ViewerDep,
    session: ReadingDep,
    filters: FiltersDep,
    sort: Annotated[str, Query(description=", ".join(jobs.SORTS))] = "-submitted_at",
    limit: Limit = 50,
    cursor: Cursor = None,
    count: Annotated[bool, Query(description="Also count, at most 10,000.")] = False,
) -> Response:
    """Jobs that you may see; filters are joined by and, a repeated one by or."""
    page = jobs.page(session, principal, filters, sort, limit, cursor, count)
    rows = " ".join(f"{job.id} {job.version}.{job.live}" for job in page.items)
    tag = f'"{hashlib.sha256(f"{rows} {page.total}".encode()).hexdigest()[:32]}"'
    if is_known(request, tag):
        return not_modified(tag)
    items = [JobRow.of(job) for job in page.items]
    counted = {} if page.total is None else {"count": page.total}
    view = JobListView(items=items, next_cursor=page.next_cursor, **counted)
    answer = written(view, {"ETag": tag}, exclude_unset=True)
    link_next(request, answer, page.next_cursor)
    return answer


@router.get("/{job_id}", response_model=JobView)
def get_job(job_id: UUID, request: Request, principal: ViewerDep, session: ReadingDep) -> Response:
    """One job: its row, why it waits, how far it is, where to go on. 304 when nothing has changed."""
    job = jobs.get(session, job_id, principal)
    tag = job_etag(job)
    if is_known(request, tag):
        return not_modified(tag)
    return written(JobView.whole(session, job), {"ETag": tag})


@router.post("/{job_id}/cancel", status_code=202, response_model=JobView, responses=problems(409))
def cancel_job(
    job_id: UUID, principal: SubmitterDep, session: SessionDep, response: Response, force: Force = False
) -> JobView:
    """Ask it to save and stop. Asking again changes nothing."""
    return _answer(session, response, verbs.cancel(session, job_id, principal, force=force))


@router.post("/{job_id}/pause", status_code=202, response_model=JobView, responses=problems(409))
def pause_job(job_id: UUID, principal: SubmitterDep, session: SessionDep, response: Response) -> JobView:
    """Ask one that runs to save and give its devices back."""
    return _answer(session, response, verbs.pause(session, job_id, principal))


@router.post("/{job_id}/resume", status_code=202, response_model=JobView, responses=problems(409))
def resume_job(job_id: UUID, principal: SubmitterDep, session: SessionDep, response: Response) -> JobView:
    """Let one that is paused go on from its last checkpoint when its turn comes."""
    return _answer(session, response, verbs.resume(session, job_id, principal))


@router.post("/{job_id}/hold", status_code=202, response_model=JobView, responses=problems(409))
def hold_job(job_id: UUID, principal: SubmitterDep, session: SessionDep, response: Response) -> JobView:
    """Keep one that waits from starting."""
    return _answer(session, response, verbs.hold(session, job_id, principal))


@router.post("/{job_id}/release", status_code=202, response_model=JobView, responses=problems(409))
def release_job(job_id: UUID, principal: SubmitterDep, session: SessionDep, response: Response) -> JobView:
    """Let one that is held wait for its turn."""
    return _answer(session, response, verbs.release(session, job_id, principal))


@router.patch("/{job_id}", response_model=JobView, responses=problems(403, 409, 412, 428), openapi_extra=takes(Change))
def change_job(
    job_id: UUID,
    body: JsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch = None,
) -> JobView:
    """Change name, labels, priority, walltime_s or max_restarts. `If-Match` takes the ETag that you read, or `*`."""
    wanted = parse_body(Change, body)
    jobs.check_there(session, job_id, principal)
    job = jobs.lock(session, job_id)
    check_unchanged(if_match, job)
    return _answer(session, response, verbs.change(session, job_id, principal, wanted.wanted(job.labels)))


def _answer(session: Session, response: Response, job: Job) -> JobView:
    response.headers["ETag"] = job_etag(job)
    return JobView.whole(session, job)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=JobView,
    responses=problems(409),
    openapi_extra=takes(Retry, required=False),
)
def retry_job(
    job_id: UUID,
    request: Request,
    body: OptionalJsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new job of the same spec, from the last checkpoint; `{"fresh": true}`: from the start."""
    wanted = parse_body(Retry, body or {})

    def retry() -> Answer:
        job = jobs.retry(session, job_id, principal, **wanted.model_dump())
        headers = {"Location": f"/jobs/{job.id}", "ETag": job_etag(job)}
        return Answer(202, headers, JobView.whole(session, job).model_dump(mode="json"))

    return Once(request, session, principal, idempotency_key).answer(body, retry)


@router.get("/{job_id}/attempts")
def list_attempts(job_id: UUID, principal: ViewerDep, session: SessionDep) -> ListView[dict[str, Any]]:
    """Every try, oldest first: node, devices, times, reason, exit code."""
    jobs.check_there(session, job_id, principal)
    return ListView(items=tries.of_job(session, job_id))


@router.get("/{job_id}/events")
def list_events(
    job_id: UUID,
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events behind this seq.")] = 0,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[EventView]:
    """What happened to it, in order."""
    jobs.check_there(session, job_id, principal)
    if cursor is not None:
        if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 15:
            raise BadCursor
        after = int(cursor)
    events = job_events.after(session, job_id, after, limit + 1)
    items = [EventView.model_validate(event) for event in events[:limit]]
    following = str(items[-1].seq) if len(events) > limit else None
    link_next(request, response, following)
    return ListView(items=items, next_cursor=following)


@router.get("/{job_id}/artifacts")
def list_artifacts(
    job_id: UUID,
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[ArtifactView]:
    """Files that it left."""
    jobs.check_there(session, job_id, principal)
    rows = [ArtifactView.model_validate(row) for row in artifacts.of_job(session, job_id)]
    return cut(request, response, rows, lambda row: row.name, limit=limit, cursor=cursor)


@router.get("/{job_id}/checkpoints")
def list_checkpoints_of_job(
    job_id: UUID,
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[CheckpointView]:
    """States that it saved, newest first, also those that were deleted since (`state`)."""
    jobs.check_there(session, job_id, principal)
    rows = [CheckpointView.model_validate(row) for row in checkpoints.of_job(session, job_id)]
    return cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.delete("/{job_id}", status_code=204, responses=problems(409))
def delete_job(job_id: UUID, principal: SubmitterDep, session: SessionDep) -> None:
    """Delete a job that is over with all that it left; 409 with `by` while a job, experiment or dataset needs it."""
    deletion.delete(session, job_id, principal)
