"""A form for every kind of job, made from the JSON schema of its spec."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.ui.rendering import page
from api.ui.spec_rows import SPECS, told
from cmac_core.specs import Experiment
from store import checkpoints, datasets, jobs
from store.errors import BadRequest
from store.keys import Role, Scope

router = APIRouter(prefix="/ui", include_in_schema=False)

KINDS: dict[str, type[BaseModel]] = {**SPECS, "experiment": Experiment}
_MOST_OFFERED = 200


@router.get("/submit")
def submit_page(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    kind: Annotated[str, Query(max_length=40)] = "pretrain",
    clone: Annotated[UUID | None, Query(description="A job to start from.")] = None,
    checkpoint: Annotated[UUID | None, Query(description="A checkpoint to evaluate.")] = None,
    dataset: Annotated[str | None, Query(max_length=200, description="A dataset to use.")] = None,
) -> HTMLResponse:
    """The form; empty, or filled with what another job was given. Raises BadRequest for an unknown kind, NotFound."""
    start: dict[str, Any] = {}
    if clone is not None:
        original = jobs.get(session, clone, principal)
        kind, start = original.kind, told(original.spec).short
    elif checkpoint is not None:
        start = {"checkpoint": {"id": str(checkpoints.get(session, checkpoint, principal).id)}}
    elif dataset is not None:
        start = {"dataset": datasets.get(session, dataset, principal).reference}
    if kind not in KINDS:
        raise BadRequest(f"there is no kind {kind!r}", allowed=list(KINDS))
    scopes = principal.scopes
    return page(
        request,
        "submit.html",
        principal,
        title="Submit",
        here="submit",
        kind=kind,
        kinds=list(KINDS),
        clone=clone,
        form={"schema": KINDS[kind].model_json_schema(), "start": {"kind": kind, **start}},
        may=principal.role.includes(Role.submitter) and (scopes is None or Scope.submit in scopes),
        datasets=[one.reference for one in datasets.listed(session, principal, _MOST_OFFERED)],
        checkpoints=checkpoints.listed(session, principal, limit=_MOST_OFFERED),
        origin=str(request.base_url).rstrip("/"),
    )
