"""Request bodies as strict JSON: nothing ambiguous, nothing that the database cannot hold."""

import json
import re
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request

from api.authentication import PrincipalDep
from api.errors import MalformedJson, UnsupportedMediaType
from api.settings import ApiSettings

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_DIGITS = 300


async def read_json(request: Request, principal: PrincipalDep) -> Any:
    """The request's body as plain values. It is read only once the caller is known.

    Raises UnsupportedMediaType, TooLarge (while it comes in) and MalformedJson.
    """
    return await _read(request)


async def read_optional_json(request: Request, principal: PrincipalDep) -> Any:
    """The same; None when there is no body."""
    return await _read(request) if await request.body() else None


async def read_anyones_json(request: Request) -> Any:
    """The same of somebody who is not known yet: for signing in alone."""
    return await _read(request)


JsonBody = Annotated[Any, Depends(read_json)]
OptionalJsonBody = Annotated[Any, Depends(read_optional_json)]
AnyonesJsonBody = Annotated[Any, Depends(read_anyones_json)]


async def _read(request: Request) -> Any:
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise UnsupportedMediaType(f"the body is {media}; send application/json", supported=["application/json"])
    settings: ApiSettings = request.app.state.settings
    return parse(await request.body(), settings.json_depth)


def parse(body: bytes, depth: int) -> Any:
    """JSON in UTF-8. Raises MalformedJson with line and column where they are known."""
    _refuse_deep(body, depth)
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise _malformed(error.msg.lower(), error.lineno, error.colno) from error
    except UnicodeDecodeError as error:
        before = body[: error.start]
        column = error.start - before.rfind(b"\n")
        raise _malformed("not UTF-8", before.count(b"\n") + 1, column) from error
    except _Refused as error:
        raise MalformedJson(str(error)) from error
    _refuse_characters(value)
    return value


class _Refused(Exception):
    """JSON's grammar allows it, this service does not."""


def _malformed(what: str, line: int, column: int) -> MalformedJson:
    return MalformedJson(f"line {line}, column {column}: {what}", line=line, column=column)


def _refuse_deep(body: bytes, limit: int) -> None:
    """Nesting is counted before parsing: the parser recurses."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > limit:
            raise MalformedJson(f"nested deeper than {limit}", limit=limit)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {twice[:64]!r} stands twice in one object")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Refused(f"the number {text[:32]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > _DIGITS:  # reading these takes long
        raise _Refused(f"a number of {len(text)} digits is too large")
    return int(text)


def _refuse_characters(value: Any) -> None:
    """NUL has no place in PostgreSQL's text, half a surrogate pair none in UTF-8."""
    if isinstance(value, str):
        if "\0" in value:
            raise MalformedJson("a string holds a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedJson("a string holds half a surrogate pair")
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_characters(name)
            _refuse_characters(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_characters(item)
