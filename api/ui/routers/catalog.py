"""What there is to work with: checkpoints with lineage and results, and packed datasets."""

from collections import Counter
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.pages import Cursor, Limit, cut
from api.ui.rendering import page
from api.views.data import WholeCheckpointView, artifact_url
from store import artifacts, checkpoints, datasets, results
from store.errors import NotFound
from store.tables import Dataset

router = APIRouter(prefix="/ui", include_in_schema=False)

EVALUATIONS = ("retrieval", "probe", "finetune", "attention")
REPORT = "pack-report.json"  # histograms, which the page draws
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


@router.get("/datasets/{reference}")
def dataset_page(
    reference: str,
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    reason: Annotated[str | None, Query(max_length=100, description="Only files left out for this reason.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> HTMLResponse:
    """One dataset: how much there is of what, clips to play, and what its pack left out and why."""
    dataset = datasets.get(session, reference, principal)
    left = artifacts.of_job(session, dataset.job_id) if dataset.job_id else []
    refused, gone = _refused(session, dataset)
    wanted = [row for row in refused if reason in (None, row["reason"])]
    turned = cut(request, HTMLResponse(), wanted, lambda row: str(row["source"]), limit=limit, cursor=cursor)
    kept = {} if reason is None else {"reason": reason}
    following = f"?{urlencode(kept | {'cursor': turned.next_cursor})}#refused" if turned.next_cursor else None
    return page(
        request, "dataset.html", principal, title=dataset.reference, here="datasets", dataset=dataset,
        samples=[one for one in left if one.kind == "sample"],
        report=next((artifact_url(one.sha256) for one in left if one.name == REPORT), None),
        kinds=("pretrain", *EVALUATIONS), reason=reason,
        reasons=Counter(str(row["reason"]) for row in refused).most_common(),
        refused=turned.items, gone=gone, following=following, url=artifact_url,
    )  # fmt: skip


def _refused(session: Session, dataset: Dataset) -> tuple[list[dict[str, Any]], str | None]:
    """What its pack left out; or why that cannot be told any more."""
    try:
        return datasets.quarantine(session, dataset), None
    except NotFound as error:
        return [], str(error)


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
