"""What there is to work with: checkpoints with lineage and results, and packed datasets."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.pages import Cursor, Limit, cut
from api.ui.rendering import page
from api.views.data import WholeCheckpointView
from store import checkpoints, datasets, results

router = APIRouter(prefix="/ui", include_in_schema=False)

EVALUATIONS = ("retrieval", "probe", "finetune", "attention")
_MOST = 1000


@router.get("/checkpoints")
def checkpoints_page(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    job: Annotated[UUID | None, Query(description="Of this job alone.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Checkpoints that can be used, newest first."""
    found = checkpoints.listed(session, principal, job, _MOST)
    turned = cut(request, HTMLResponse(), found, lambda one: str(one.id), limit=limit, cursor=cursor)
    kept = {} if job is None else {"job": str(job)}
    following = f"?{urlencode(kept | {'cursor': turned.next_cursor})}" if turned.next_cursor else None
    return page(
        request, "checkpoints.html", principal, title="Checkpoints", here="checkpoints", checkpoints=turned.items,
        following=following, job=job,
    )  # fmt: skip


@router.get("/checkpoints/{checkpoint_id}")
def checkpoint_page(checkpoint_id: UUID, request: Request, principal: ViewerDep, session: SessionDep) -> HTMLResponse:
    """One checkpoint: what it was made of, what was found out with it, and how to get and evaluate it."""
    checkpoint = checkpoints.get(session, checkpoint_id, principal)
    readers = checkpoints.readers(session, checkpoint, principal)
    return page(
        request,
        "checkpoint.html",
        principal,
        title=f"Checkpoint {str(checkpoint.id)[:8]}",
        here="checkpoints",
        checkpoint=WholeCheckpointView.whole(session, checkpoint),
        readers=[(one, results.view(session, one.id, principal)["values"]) for one in readers],
        kinds=EVALUATIONS,
    )


@router.get("/datasets")
def datasets_page(
    request: Request, principal: ViewerDep, session: SessionDep, limit: Limit = 50, cursor: Cursor = None
) -> HTMLResponse:
    """Packed datasets that may be used."""
    found = datasets.listed(session, principal, _MOST)
    turned = cut(request, HTMLResponse(), found, lambda one: str(one.id), limit=limit, cursor=cursor)
    following = f"?{urlencode({'cursor': turned.next_cursor})}" if turned.next_cursor else None
    return page(
        request, "datasets.html", principal, title="Datasets", here="datasets", datasets=turned.items,
        following=following,
    )  # fmt: skip
