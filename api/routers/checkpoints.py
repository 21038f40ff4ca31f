"""Checkpoints: what trainings saved and imports brought, their weights as safetensors, and their cards."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from api.authentication import SubmitterDep, ViewerDep
from api.bodies import NewWeights, parse_body, parse_job
from api.dependencies import SessionDep
from api.downloads import artifact_answer
from api.etags import job_etag
from api.json_bodies import JsonBody
from api.once import IdempotencyKey, Once
from api.openapi import BYTES, TEXT, problems, takes
from api.pages import Cursor, Limit, cut
from api.views.base import ListView
from api.views.data import CheckpointView, WholeCheckpointView
from api.views.jobs import JobView
from store import artifacts, checkpoints, jobs, model_cards
from store.errors import NotFound
from store.idempotency import Answer

router = APIRouter(prefix="/checkpoints", tags=["catalog"], responses=problems(404))

_MOST = 10_000


@router.post("", status_code=202, response_model=JobView, responses=problems(409, 429), openapi_extra=takes(NewWeights))
def import_weights(
    request: Request,
    body: JsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Import a file of weights (torchvision, GDT, SeLaVi, ours) below a root: submits a job of kind `import`."""
    spec = parse_job(parse_body(NewWeights, body).spec())

    def submit() -> Answer:
        job = jobs.submit(session, spec, principal)
        headers = {"Location": f"/jobs/{job.id}", "ETag": job_etag(job)}
        return Answer(202, headers, JobView.whole(session, job).model_dump(mode="json"))

    return Once(request, session, principal, idempotency_key).answer(body, submit)


@router.get("")
def list_checkpoints(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    job: Annotated[UUID | None, Query(description="Only of this job.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[CheckpointView]:
    """Saved states that are there and good, newest first."""
    if job is not None:
        jobs.check_there(session, job, principal)
    rows = [CheckpointView.model_validate(row) for row in checkpoints.listed(session, principal, job, _MOST)]
    return cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.get("/{checkpoint_id}")
def get_checkpoint(checkpoint_id: UUID, principal: ViewerDep, session: SessionDep) -> WholeCheckpointView:
    """One saved state, where it comes from, and where its weights are."""
    return WholeCheckpointView.whole(session, checkpoints.get(session, checkpoint_id, principal))


@router.post("/{checkpoint_id}/pin", responses=problems(403, 404, 409))
def pin_checkpoint(checkpoint_id: UUID, principal: SubmitterDep, session: SessionDep) -> CheckpointView:
    """Keep it whatever its training's `checkpoints` say (its owner, and operators)."""
    return CheckpointView.model_validate(checkpoints.pin(session, checkpoint_id, principal, pinned=True))


@router.post("/{checkpoint_id}/unpin", responses=problems(403, 404))
def unpin_checkpoint(checkpoint_id: UUID, principal: SubmitterDep, session: SessionDep) -> CheckpointView:
    """Let its training's `checkpoints` decide again."""
    return CheckpointView.model_validate(checkpoints.pin(session, checkpoint_id, principal, pinned=False))


@router.delete("/{checkpoint_id}", status_code=202, responses=problems(403, 404, 409))
def remove_checkpoint(checkpoint_id: UUID, principal: SubmitterDep, session: SessionDep) -> CheckpointView:
    """Remove its files (its owner, and operators); 409 with `by` while a job names it, its own may go on, or pinned."""
    return CheckpointView.model_validate(checkpoints.remove(session, checkpoint_id, principal))


@router.head("/{checkpoint_id}/file", include_in_schema=False)
@router.get("/{checkpoint_id}/file", responses=BYTES | problems(410, 416), response_class=Response)
def get_weights(checkpoint_id: UUID, request: Request, principal: ViewerDep, session: SessionDep) -> Response:
    """Its encoders as safetensors, in torchvision's names behind `video.` and `audio.`."""
    checkpoint = checkpoints.get(session, checkpoint_id, principal)
    exported = artifacts.encoders_of(session, checkpoint)
    if exported is None:
        raise NotFound(
            f"checkpoint {checkpoint_id} has no exported weights: a training exports its encoders at its end, "
            f"and this is step {checkpoint.step} of job {checkpoint.job_id}; see that job's last checkpoint"
        )
    return artifact_answer(request, exported)


@router.get("/{checkpoint_id}/card", responses=TEXT, response_class=PlainTextResponse)
def get_card(checkpoint_id: UUID, principal: ViewerDep, session: SessionDep) -> Response:
    """Its model card in Markdown: data, settings, code, and what evaluations have found so far."""
    card = model_cards.model_card(session, checkpoints.get(session, checkpoint_id, principal), principal)
    headers = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
    return PlainTextResponse(card.markdown(), headers=headers, media_type="text/markdown; charset=utf-8")
