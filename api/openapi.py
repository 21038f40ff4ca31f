"""OpenAPI 3.1: what FastAPI derives, plus the job specs, which are parsed by hand to name every error at once."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api import examples
from api.problem_kinds import PROBLEM_KINDS
from cmac_core.specs import JOB_SPEC
from cmac_core.specs.experiment import Experiment

Responses = dict[int | str, dict[str, Any]]

_REF = "#/components/schemas/{model}"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"$ref": _REF.format(model=m)} for m in ("JobSpec", "Experiment")]},
                "examples": {title: {"value": spec} for title, spec in examples.SPECS.items()},
            }
        },
    }
}
_BODIES: dict[str, type[BaseModel]] = {}  # that operations take and FastAPI does not see
_ESTIMATE = {"type": "object", "required": ["spec", "estimate", "warnings"]}
DRY_RUN: Responses = {
    200: {"description": "What a dry run says.", "content": {"application/json": {"schema": _ESTIMATE}}}
}
EVENT_STREAM: Responses = {
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The stream has ended and nothing follows."},
}
TEXT: Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
TABLES: Responses = {
    200: {
        "content": {
            media: {"schema": {"type": "string"}}
            for media in ("text/csv", "text/markdown", "application/x-latex", "image/svg+xml")
        }
    }
}
CSV: Responses = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
BYTES: Responses = {
    200: {"description": "The bytes.", "content": {"application/octet-stream": {}}},
    206: {"description": "A part of them.", "content": {"application/octet-stream": {}}},
    304: {"description": "You have them."},
}

DESCRIPTION = """
A lab's shared queue for video-audio self-supervised learning: POST a job spec, follow it, read the result.

Every request but the open ones carries `Authorization: Bearer cmac_…`. Errors are `application/problem+json`;
`/problems/{code}` explains each. Lists lead from page to page by `next_cursor`. A POST that creates takes an
`Idempotency-Key`, and the same key with the same body gives the same answer again.
"""


def problems(*statuses: int) -> Responses:
    """Documents problem answers of these statuses, with their codes."""
    codes = {status: [c for c, kind in PROBLEM_KINDS.items() if kind.status == status] for status in statuses}
    return {
        status: {"description": ", ".join(f"`{code}`" for code in found), "content": _PROBLEM}
        for status, found in codes.items()
    }


def takes(kind: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of an operation that parses such a body by hand."""
    _BODIES[kind.__name__] = kind
    schema = {"$ref": _REF.format(model=kind.__name__)}
    content = {"application/json": {"schema": schema, "example": examples.BODIES[kind]}}
    return {"requestBody": {"required": required, "content": content}}


def install(app: FastAPI) -> None:
    """Let the app describe itself like this."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=app.openapi_tags
    )
    spec = JOB_SPEC.json_schema(ref_template=_REF)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    experiment = Experiment.model_json_schema(ref_template=_REF)
    schemas |= {**spec.pop("$defs"), **experiment.pop("$defs"), "JobSpec": spec, "Experiment": experiment}
    schemas["Problem"] = _problem_schema()
    for name, kind in _BODIES.items():
        body = kind.model_json_schema(ref_template=_REF)
        schemas |= {**body.pop("$defs", {}), name: body}
    for path in made["paths"].values():
        for operation in path.values():
            # FastAPI's own 422 has another shape than ours, and bad parameters are 400 here.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
                operation["responses"].setdefault("400", problems(400)[400])
            # What any call with a key, and any with a body, may be answered.
            common = (429, 503) if "401" in operation["responses"] else ()
            for status in (*common, *((400, 413, 415, 422) if "requestBody" in operation else ())):
                operation["responses"].setdefault(str(status), problems(status)[status])
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    return made


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    error = {
        "type": "object",
        "properties": {"pointer": text, "message": text, "got": {}, "hint": text},
        "required": ["pointer", "message"],
    }
    return {
        "type": "object",
        "description": "RFC 9457; each code may add members.",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "code": {"type": "string", "enum": list(PROBLEM_KINDS)},
            "request_id": text,
            "errors": {"type": "array", "items": error},
        },
        "required": ["type", "title", "status", "detail", "code", "request_id"],
    }
