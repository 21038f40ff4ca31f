"""An experiment's result in the form that was asked for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from api.errors import NotAcceptable
from api.etags import POLL_AGAIN_S, is_known, not_modified
from api.tables import csv_answer
from cmac_core.experiments.figures import svg
from cmac_core.experiments.text_tables import RECORD, latex, markdown, records

Form = Literal["json", "csv", "markdown", "latex", "svg"]
Format = Annotated[Form | None, Query(description="Of an experiment: without one by Accept, else JSON.")]

MEDIA: Mapping[str, Form] = {
    "application/json": "json",
    "text/csv": "csv",
    "text/markdown": "markdown",
    "application/x-latex": "latex",
    "image/svg+xml": "svg",
}
_ANY = ("*/*", "application/*")


def table_answer(request: Request, view: Mapping[str, Any], format: Form | None, status: int) -> Response:
    """The view of `store.experiment_results` as JSON, CSV, Markdown, LaTeX or SVG; 304 when nothing has changed.

    Raises NotAcceptable: no such form, or a table that is no figure as SVG.
    """
    form = format or _accepted(request)
    tag = f'"{view["tag"]}"' if form == "json" else f'"{view["tag"]}.{form}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    headers |= {} if view["final"] else {"Retry-After": POLL_AGAIN_S}
    if is_known(request, tag):
        return not_modified(tag, headers)
    answer = _formed(view, form, status)
    answer.headers.update(headers)
    return answer


def _accepted(request: Request) -> Form:
    accept = request.headers.get("accept", "*/*")
    named = [form for media, form in MEDIA.items() if media in accept]
    if named:
        return named[0]
    if any(media in accept for media in _ANY):
        return "json"
    raise NotAcceptable(f"there is {', '.join(MEDIA)}, not {accept}", supported=list(MEDIA))


def _formed(view: Mapping[str, Any], form: Form, status: int) -> Response:
    match form:
        case "json":
            return JSONResponse(jsonable_encoder(_with_links(view)), status)
        case "csv":
            answer: Response = csv_answer(RECORD, records(view))
            answer.status_code = status
            return answer
        case "markdown":
            return Response(markdown(view), status, media_type="text/markdown; charset=utf-8")
        case "latex":
            return Response(latex(view), status, media_type="application/x-latex; charset=utf-8")
        case "svg":
            return Response(_figure(view), status, media_type="image/svg+xml")


def _figure(view: Mapping[str, Any]) -> str:
    """The first of its tables that has an axis."""
    tables = view["tables"]
    chosen = next((table for table in tables if all(row["x"] is not None for row in table["rows"])), tables[0])
    try:
        return svg(chosen)
    except ValueError as error:
        raise NotAcceptable(str(error), supported=[media for media, form in MEDIA.items() if form != "svg"]) from error


def _with_links(view: Mapping[str, Any]) -> dict[str, Any]:
    here, result = f"/experiments/{view['id']}", f"/results/{view['id']}"
    links = {"self": result, "experiment": here, "retry": f"{here}/retry"}
    links |= {form: f"{result}?format={form}" for form in ("csv", "markdown", "latex")}
    if any(row["x"] is not None for table in view["tables"] for row in table["rows"]):
        links["svg"] = f"{result}?format=svg"
    return {**view, "links": links}
