"""What is wrong with a spec, in a user's words: a pointer to the field, what was expected, and a guess."""

import difflib
import typing
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from cmac_core.specs.jobs import KINDS


class FieldProblem(NamedTuple):
    """One wrong field. `pointer` is a JSON pointer (RFC 6901) into the body."""

    pointer: str
    message: str
    got: Any = None
    hint: str | None = None


def field_problems(error: ValidationError) -> list[FieldProblem]:
    """All wrong fields of a JOB_SPEC validation, union branches folded away, with did-you-mean."""
    problems: dict[tuple[str, str], FieldProblem] = {}
    for item in error.errors(include_url=False, include_context=True):
        problem = _problem(item)
        problems.setdefault((problem.pointer, problem.message), problem)
    return list(problems.values())


def _problem(item: Any) -> FieldProblem:
    kind_missing = item["type"] in ("union_tag_not_found", "union_tag_invalid")
    path = ["kind"] if kind_missing else [part for part in item["loc"][1:] if not _is_branch(part)]
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    if kind_missing:
        got = item["input"].get("kind") if isinstance(item["input"], dict) else item["input"]
        return FieldProblem("/kind", f"must be one of {', '.join(KINDS)}", got, _nearest(str(got), KINDS))
    if item["type"] == "extra_forbidden":
        allowed = _siblings(item["loc"])
        return FieldProblem(pointer, "no such field", item["input"], _nearest(str(path[-1]), allowed))
    message = item["msg"].removeprefix("Value error, ")
    return FieldProblem(pointer, message[0].lower() + message[1:], item["input"])


def _is_branch(part: object) -> bool:
    # Members of an untagged union appear in `loc` by their class name.
    return isinstance(part, str) and part[:1].isupper() and part not in _FIELDS_IN_CAPITALS


_FIELDS_IN_CAPITALS = {"W", "F", "T", "K"}


def _nearest(word: str, allowed: typing.Iterable[str]) -> str | None:
    near = difflib.get_close_matches(word, list(allowed), n=1)
    return f"did you mean {near[0]}?" if near else None


def _siblings(loc: tuple[Any, ...]) -> list[str]:
    """The fields that stand where an unknown one was given."""
    from cmac_core.specs import jobs  # the classes of the kinds, by tag

    node: Any = {cls.model_fields["kind"].default: cls for cls in typing.get_args(typing.get_args(jobs.JobSpec)[0])}[
        loc[0]
    ]
    for part in loc[1:-1]:
        node = _descend(node, part)
        if node is None:
            return []
    return list(node.model_fields) if isinstance(node, type) and issubclass(node, BaseModel) else []


def _descend(node: Any, part: object) -> Any:
    if not (isinstance(node, type) and issubclass(node, BaseModel)) or not isinstance(part, str):
        members = [m for m in typing.get_args(node) if isinstance(m, type)]
        return next((m for m in members if m.__name__ == part), None)
    field = node.model_fields.get(part)
    if field is None:
        return node if node.__name__ == part else None
    options = [m for m in typing.get_args(field.annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    return options[0] if len(options) == 1 else field.annotation
