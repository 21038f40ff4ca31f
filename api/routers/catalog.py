"""What jobs read: datasets, and the roots that media come from."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from api.authentication import OperatorDep, SubmitterDep, ViewerDep
from api.bodies import NewRoot, parse_body
from api.dependencies import SessionDep
from api.json_bodies import JsonBody
from api.once import IdempotencyKey, Once
from api.openapi import problems, takes
from api.pages import Cursor, Limit, cut
from api.trail import TrailDep
from api.views.base import ListView
from api.views.data import DatasetView, RootView
from store import datasets, roots
from store.idempotency import Answer

router = APIRouter(tags=["catalog"])

_MOST = 10_000


@router.get("/datasets")
def list_datasets(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    name: Annotated[str | None, Query(max_length=64, description="Only this name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[DatasetView]:
    """Packed datasets, newest first."""
    rows = [DatasetView.model_validate(row) for row in datasets.listed(session, principal, _MOST)]
    named = [row for row in rows if name in (None, row.name)]
    return cut(request, response, named, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.get("/datasets/{reference}", responses=problems(404))
def get_dataset(reference: str, principal: ViewerDep, session: SessionDep) -> DatasetView:
    """One dataset by id or NAME[@VERSION]."""
    return DatasetView.model_validate(datasets.get(session, reference, principal))


@router.delete("/datasets/{dataset_id}", responses=problems(404, 409))
def archive_dataset(dataset_id: UUID, principal: SubmitterDep, session: SessionDep) -> DatasetView:
    """No longer offered; its files stay, and results that were made from it too."""
    return DatasetView.model_validate(datasets.archive(session, dataset_id, principal))


@router.get("/datasets/{reference}/quarantine", responses=problems(404))
def list_quarantine(
    reference: str,
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[dict[str, Any]]:
    """Files that its pack refused, each with a reason."""
    rows = datasets.quarantine(session, datasets.get(session, reference, principal))
    return cut(request, response, rows, lambda row: str(row["source"]), limit=limit, cursor=cursor)


@router.get("/roots")
def list_roots(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[RootView]:
    """Named folders below which a pack may read."""
    rows = [RootView.model_validate(row) for row in roots.listed(session)]
    return cut(request, response, rows, lambda row: row.name, limit=limit, cursor=cursor)


@router.post("/roots", status_code=201, response_model=RootView, responses=problems(409), openapi_extra=takes(NewRoot))
def add_root(
    request: Request,
    body: JsonBody,
    principal: OperatorDep,
    session: SessionDep,
    trail: TrailDep,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Name a folder of the service's machine (operators). The same again changes nothing."""
    new = parse_body(NewRoot, body)

    def add() -> Answer:
        root = RootView.model_validate(roots.add(session, new.name, Path(new.path), principal))
        trail.write("root.add", new.name, {"path": root.path})
        return Answer(201, {}, root.model_dump(mode="json"))

    return Once(request, session, principal, idempotency_key).answer(body, add)
