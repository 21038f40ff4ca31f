"""Experiments: list, look, their table, cancel, and run again what failed. They are submitted as jobs are."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.authentication import SubmitterDep, ViewerDep
from api.bodies import RetryCells, parse_body
from api.dependencies import SessionDep
from api.experiment_answers import Format, table_answer
from api.json_bodies import OptionalJsonBody
from api.once import IdempotencyKey, Once
from api.openapi import TABLES, problems, takes
from api.pages import Cursor, Limit, cut
from api.routers.jobs import Force
from api.views.base import ListView
from api.views.experiments import ExperimentRow, ExperimentView, RetriedView
from store import experiment_results, experiments
from store.idempotency import Answer

router = APIRouter(prefix="/experiments", tags=["experiments"], responses=problems(404))


@router.get("")
def list_experiments(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[ExperimentRow]:
    """Experiments that you may see, newest first, with how many of their jobs are where."""
    rows = experiments.listed(session, principal)
    page = cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)
    counts = experiments.counts(session, (row.id for row in page.items))
    items = [ExperimentRow.of(row, counts[row.id]) for row in page.items]
    return ListView(items=items, next_cursor=page.next_cursor)


@router.get("/{experiment_id}")
def get_experiment(experiment_id: UUID, principal: ViewerDep, session: SessionDep) -> ExperimentView:
    """One experiment with its jobs."""
    return ExperimentView.whole(session, experiments.get(session, experiment_id, principal))


@router.get("/{experiment_id}/table", responses=TABLES | problems(400, 406), response_model=None)
def get_table(
    experiment_id: UUID, request: Request, principal: ViewerDep, session: SessionDep, format: Format = None
) -> Response:
    """The table as it is now: JSON, CSV, Markdown, LaTeX, or a figure as SVG."""
    return table_answer(request, experiment_results.view(session, experiment_id, principal), format, 200)


@router.post("/{experiment_id}/cancel", status_code=202)
def cancel_experiment(
    experiment_id: UUID, principal: SubmitterDep, session: SessionDep, force: Force = False
) -> ExperimentView:
    """Ask all its jobs to save and stop. Asking again changes nothing."""
    return ExperimentView.whole(session, experiments.cancel(session, experiment_id, principal, force=force))


@router.post(
    "/{experiment_id}/retry",
    status_code=202,
    response_model=RetriedView,
    responses=problems(409),
    openapi_extra=takes(RetryCells, required=False),
)
def retry_experiment(
    experiment_id: UUID,
    request: Request,
    body: OptionalJsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """New jobs for the cells that failed or were cancelled; `{"rows": ["full"]}`: of these rows alone."""
    wanted = parse_body(RetryCells, body or {})

    def retry() -> Answer:
        experiment, made = experiments.retry(session, experiment_id, principal, **wanted.model_dump())
        whole: dict[str, Any] = ExperimentView.whole(session, experiment).model_dump(mode="json")
        return Answer(202, {"Location": f"/experiments/{experiment.id}"}, whole | {"retried": [job.id for job in made]})

    return Once(request, session, principal, idempotency_key).answer(body, retry)
