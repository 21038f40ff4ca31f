"""Experiments: the paper's tables as they fill, each cell leading to its jobs; and any jobs side by side."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.pages import Cursor, Limit, cut
from api.ui.rendering import page
from api.ui.shown import CurveViewDep
from api.views.data import artifact_url
from api.views.experiments import ExperimentRow
from cmac_core.experiments.comparison import values_side_by_side
from cmac_core.specs.differences import differing
from store import board, experiment_results, experiments, jobs, metrics, results
from store.errors import BadRequest
from store.keys import Principal, Role, Scope
from store.tables import Experiment

router = APIRouter(prefix="/ui", include_in_schema=False)

MOST_COMPARED = 20
_TELLING = ("loss", "contrast/v", "contrast/a", "attention/v", "attention/a")  # curves shown unless others are chosen


@router.get("/experiments")
def experiments_page(
    request: Request, principal: ViewerDep, session: SessionDep, limit: Limit = 50, cursor: Cursor = None
) -> HTMLResponse:
    """All experiments, newest first."""
    found = cut(
        request, HTMLResponse(), experiments.listed(session, principal), lambda one: str(one.id), limit=limit,
        cursor=cursor,
    )  # fmt: skip
    counts = experiments.counts(session, (one.id for one in found.items))
    following = f"/ui/experiments?{urlencode({'cursor': found.next_cursor})}" if found.next_cursor else None
    return page(
        request,
        "experiments.html",
        principal,
        title="Experiments",
        here="experiments",
        experiments=[ExperimentRow.of(one, counts[one.id]) for one in found.items],
        following=following,
    )


@router.get("/experiments/{experiment_id}")
def experiment_page(experiment_id: UUID, request: Request, principal: ViewerDep, session: SessionDep) -> HTMLResponse:
    """One experiment's tables as they are now, ours beside the paper's."""
    mark = board.mark(session)
    experiment = experiments.get(session, experiment_id, principal)
    view = experiment_results.view(session, experiment_id, principal)
    return page(
        request,
        "experiment.html",
        principal,
        title=experiment.name or experiment.recipe or f"experiment {str(experiment.id)[:8]}",
        here="experiments",
        mark=mark,
        experiment=experiment,
        view=view,
        verbs=_verbs(experiment, view, principal),
        figures=[_figure(table) for table in view["tables"] if _has_axis(table)],
        comparisons={table["key"]: _comparison(table) for table in view["tables"]},
    )


@router.get("/compare")
def compare_page(
    request: Request,
    principal: ViewerDep,
    session: SessionDep,
    view: CurveViewDep,
    job: Annotated[list[UUID], Query(description="Jobs, repeated.")],
    names: Annotated[list[str] | None, Query(description="Curves, repeated.")] = None,
) -> HTMLResponse:
    """Settings that differ, curves over each other, and results side by side. Raises BadRequest: too many."""
    chosen = list(dict.fromkeys(job))
    if len(chosen) > MOST_COMPARED:
        raise BadRequest(f"{len(chosen)} jobs are too many to be compared; choose {MOST_COMPARED} at most")
    compared = [jobs.get(session, one, principal) for one in chosen]
    views = [results.view(session, one.id, principal) for one in compared]
    left = [(one, view["artifacts"]) for one, view in zip(compared, views, strict=True)]
    curves = sorted({name for one in compared for name in metrics.names(session, one.id)})
    return page(
        request,
        "compare.html",
        principal,
        title="Comparison",
        here="jobs",
        view=view,
        jobs=compared,
        labels=[{"id": str(one.id), "label": one.name or str(one.id)[:8]} for one in compared],
        settings=differing([one.spec for one in compared]),
        values=values_side_by_side(views),
        confused=[(one, found) for one, found in left if any(map(_is_confusion, found))],
        url=artifact_url,
        curves=curves,
        shown=names or [name for name in _TELLING if name in curves] or curves[:4],
    )


def _verbs(experiment: Experiment, view: Mapping[str, Any], principal: Principal) -> list[str]:
    """What who looks may ask of it as it is."""
    theirs = experiment.owner == principal.user or principal.role.includes(Role.operator)
    may = theirs and principal.role.includes(Role.submitter)
    if not may or (principal.scopes is not None and Scope.submit not in principal.scopes):
        return []
    again = any(state in view["counts"] for state in ("failed", "cancelled"))
    return [*([] if view["final"] else ["cancel"]), *(["retry"] if again else [])]


def _is_confusion(artifact: Mapping[str, Any]) -> bool:
    return artifact["media_type"] == "text/csv" and str(artifact["name"]).startswith("confusion")


def _has_axis(table: Mapping[str, Any]) -> bool:
    return bool(table["rows"]) and all(row["x"] is not None for row in table["rows"])


def _figure(table: Mapping[str, Any]) -> dict[str, Any]:
    """A panel for each column: ours with its spread, and the paper's, along the rows' axis."""
    panels = []
    for place, column in enumerate(table["columns"]):
        cells = [(row["x"], row["cells"][place]) for row in table["rows"]]
        ours = [(x, cell["mean"], cell["std"] or 0) for x, cell in cells if cell["mean"] is not None]
        paper = [(x, cell["paper"]) for x, cell in cells if cell["paper"] is not None]
        panels.append({"title": column["title"], "unit": column["unit"], "ours": ours, "paper": paper})
    return {"key": table["key"], "title": table["title"], "x": table["x"], "panels": panels}


def _comparison(table: Mapping[str, Any]) -> str | None:
    """Where the rows' own jobs stand side by side; None where there are not two, or too many."""
    found = list(dict.fromkeys(job["id"] for row in table["rows"] for job in row["jobs"]))
    many = 2 <= len(found) <= MOST_COMPARED
    return f"/ui/compare?{urlencode([('job', one) for one in found])}" if many else None
