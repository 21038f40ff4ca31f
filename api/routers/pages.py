"""Pages about the service itself, from nothing but itself: its paths, its problems. Those of the lab are `api.ui`."""

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from api.html import page
from api.problem_kinds import PROBLEM_KINDS
from api.version import VERSION
from store.errors import NotFound

router = APIRouter(tags=["operation"], include_in_schema=False)

_METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/")
def index(request: Request) -> Response:
    """What this is and where to go; a browser is led to the pages."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ui", 307)
    links = {
        "pages": "/ui",
        "docs": "/docs",
        "openapi": "/openapi.json",
        "jobs": "/jobs",
        "datasets": "/datasets",
        "nodes": "/nodes",
        "queue": "/queue",
        "ready": "/readyz",
        "problems": "/problems",
    }
    return JSONResponse({"service": "cmac-lab", "version": VERSION, "links": links})


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Every path with its parameters and answers."""
    paths: dict[str, Any] = request.app.openapi()["paths"]
    sections = [
        _operation(path, method, operations[method])
        for path, operations in paths.items()
        for method in _METHODS
        if method in operations
    ]
    intro = '<p>The same for programs: <a href="/openapi.json">openapi.json</a>. '
    intro += 'Errors: <a href="/problems">problems</a>.</p>'
    return page("API", intro + "".join(sections))


@router.get("/problems")
def problem_list() -> HTMLResponse:
    """All codes."""
    rows = "".join(
        f'<tr><td>{kind.status}</td><td><a href="/problems/{code}"><code>{code}</code></a></td>'
        f"<td>{escape(kind.title)}</td></tr>"
        for code, kind in PROBLEM_KINDS.items()
    )
    return page("Problems", f"<table>{rows}</table>")


@router.get("/problems/{code}")
def problem_page(code: str, request: Request) -> Response:
    """What one code means and what to do about it."""
    if code not in PROBLEM_KINDS:
        raise NotFound(f"no problem has the code {code[:64]!r}")
    kind = PROBLEM_KINDS[code]
    if "text/html" not in request.headers.get("accept", "text/html"):
        return JSONResponse({"code": code, **kind._asdict()})
    body = f"<p>Status {kind.status}, code <code>{code}</code></p><p>{escape(kind.explanation)}</p>"
    return page(kind.title, body + '<p><a href="/problems">All problems</a></p>')


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(_parameter(parameter) for parameter in operation.get("parameters", []))
    answers = ", ".join(
        f"{status} {escape(answer.get('description', ''))}" for status, answer in sorted(operation["responses"].items())
    )
    text = escape(operation.get("description") or operation.get("summary", ""))
    body = _body(path, method, operation["requestBody"]) if "requestBody" in operation else ""
    table = f"<table>{parameters}</table>" if parameters else ""
    head = f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>"
    return f"<section>{head}<p>{text}</p>{body}{table}<p class=answers>{answers}</p></section>"


def _body(path: str, method: str, body: dict[str, Any]) -> str:
    """Its schema's name, and each example as a line for a shell."""
    content = body["content"]["application/json"]
    several = {title: one["value"] for title, one in content.get("examples", {}).items()}
    shown = several or {"Example": content["example"]}
    return f"<p>Body{'' if body['required'] else ' (may be left out)'}:</p>" + "".join(
        f"<details><summary>{escape(title)}</summary><pre>{escape(curl(path, method, example))}</pre></details>"
        for title, example in shown.items()
    )


def curl(path: str, method: str, body: dict[str, Any]) -> str:
    """The request on a command line, its body in single quotes."""
    quoted = json.dumps(body, indent=1).replace("'", "'\\''")
    verb = "" if method == "post" else f" -X {method.upper()}"
    key = '-H "Authorization: Bearer $KEY"'
    return f"curl{verb} $URL{path} {key} -H 'Content-Type: application/json' -d '{quoted}'"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    about = parameter.get("description") or schema.get("description", "")
    default = f" (default {schema['default']})" if "default" in schema else ""
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td>"
        f"<td>{escape(about + default)}</td></tr>"
    )
