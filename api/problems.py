"""The one place where errors become answers: application/problem+json (RFC 9457), a page for who looks at pages."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.problem_kinds import PROBLEM_KINDS
from api.request_ids import request_id
from api.ui.errors import for_reader
from cmac_core.specs.problems import FieldProblem
from store.database import is_away, was_collision
from store.errors import Problem, SpecProblem

log = logging.getLogger("api.problems")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 413: "too_large", 400: "bad_request"}
_LONGEST_ECHO = 500


def install(app: FastAPI) -> None:
    """Let every error of the app leave in this form."""
    told: dict[type[Exception], Callable[[Request, Exception], JSONResponse]] = {
        Problem: _of_store,
        RequestValidationError: _of_validation,
        HTTPException: _of_routing,
        DBAPIError: _of_database,
        PoolTimeout: _of_database,
    }
    for kind, tell in told.items():
        app.add_exception_handler(kind, lambda request, error, tell=tell: for_reader(request, tell(request, error)))


def problem(
    request_path: str, code: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem of a known code. `members` are the extra ones of API 7; None is left out."""
    kind = PROBLEM_KINDS[code]
    body = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": request_path,
        "code": code,
        "request_id": request_id(),
        **{name: value for name, value in members.items() if value is not None},
    }
    return JSONResponse(jsonable_encoder(body), kind.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def errors_of(problems: list[FieldProblem]) -> list[dict[str, Any]]:
    """Field problems as members of `errors`; long values are cut."""
    return [
        {"pointer": one.pointer, "message": one.message, "got": _short(one.got)}
        | ({"hint": one.hint} if one.hint else {})
        for one in problems
    ]


def _of_store(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    members = dict(error.members)
    if isinstance(error, SpecProblem):
        members["errors"] = errors_of(error.errors)
    return problem(request.url.path, error.code, error.detail, _headers(error.code, members), **members)


def _headers(code: str, members: dict[str, Any]) -> dict[str, str]:
    if code == "unauthenticated":
        return {"WWW-Authenticate": "Bearer"}
    if code == "range_not_satisfiable":
        return {"Content-Range": f"bytes */{members.get('size')}"}
    if PROBLEM_KINDS[code].status in (429, 503) or code == "idempotency_in_progress":
        return {"Retry-After": str(members.pop("retry_after_s", RETRY_AFTER_S))}
    return {}


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own 422, by where the wrong value stood."""
    assert isinstance(error, RequestValidationError)
    found = [(str(item["loc"][0]), _field(item)) for item in error.errors()]
    places = {place for place, _ in found}
    errors = errors_of([field for _, field in found])
    path = request.url.path
    if "path" in places:
        given = next(field for place, field in found if place == "path")
        return problem(path, "not_found", f"{_short(given.got)!r} names nothing here: {given.message}")
    if places & {"query", "header", "cookie"}:
        text = "; ".join(f"{field.pointer.lstrip('/')}: {field.message}" for _, field in found)
        return problem(path, "bad_request", text, errors=errors)
    text = "; ".join(f"{field.pointer or 'the body'}: {field.message}" for _, field in found)
    return problem(path, "invalid_spec", text, errors=errors)


def _field(item: Any) -> FieldProblem:
    pointer = "".join(f"/{part}" for part in item["loc"][1:])
    message = "no such field" if item["type"] == "extra_forbidden" else str(item["msg"])
    message = message.removeprefix("Value error, ")
    return FieldProblem(pointer, message[:1].lower() + message[1:], item.get("input"))


def _of_routing(request: Request, error: Exception) -> JSONResponse:
    """Starlette's 404 and 405."""
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, "internal")
    path = request.url.path
    details = {
        404: f"there is no {path}; GET /openapi.json lists the paths",
        405: f"{path} does not know {request.method}",
    }
    detail = details.get(error.status_code, HTTPStatus(error.status_code).phrase)
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return problem(path, code, detail, headers)


def _methods(request: Request) -> list[str]:
    """All methods of a path; the router itself names those of the first route that fits."""
    paths: dict[str, Any] = request.app.openapi()["paths"]
    fitting = [operations for path, operations in paths.items() if compile_path(path)[0].match(request.url.path)]
    return sorted({method.upper() for operations in fitting for method in operations}) or ["GET"]


def _of_database(request: Request, error: Exception) -> JSONResponse:
    path = request.url.path
    if isinstance(error, DataError):
        # Validation should have come first; PostgreSQL refused the value, so it is the caller's.
        log.warning("the database refused a value", exc_info=error)
        return problem(path, "bad_request", "a value is out of range or holds characters that cannot be stored")
    if isinstance(error, PoolTimeout) or is_not_ready(error):
        log.warning("the database is not ready: %s", str(error).splitlines()[0])
        detail = "the database is away or not migrated; the service goes on by itself once it is ready"
        return problem(path, "unavailable", detail, {"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, DBAPIError) and was_collision(error):
        return problem(path, "unavailable", "two requests met in the database; repeat this one", {"Retry-After": "1"})
    raise error


def is_not_ready(error: Exception) -> bool:
    """Whether the database cannot be reached, or has not the tables yet."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, UndefinedTable | UndefinedColumn):
        return True
    return is_away(error)


def _short(value: Any) -> Any:
    """What the caller sent, as JSON, cut where it is long."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    if len(text) <= _LONGEST_ECHO:
        return text if isinstance(value, str) else jsonable_encoder(value, custom_encoder={object: str})
    return text[:_LONGEST_ECHO] + "…"
