"""What is wrong with a spec, in a user's words: a pointer to the field, what was expected, and a guess."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from cmac_core.specs.jobs import KINDS, JobSpec


class FieldProblem(NamedTuple):
    """One wrong field. `pointer` is a JSON pointer (RFC 6901) into the body."""

    pointer: str
    message: str
    got: Any = None
    hint: str | None = None


# Kinds that the service takes and expands; one run of the core is one job.
EXPANDED = ("experiment",)


def field_problems(error: ValidationError, model: type[BaseModel] | None = None) -> list[FieldProblem]:
    """All wrong fields of a validation by JOB_SPEC (or `model`), union branches folded away, with did-you-mean."""
    problems: dict[tuple[str, str], FieldProblem] = {}
    for item in error.errors(include_url=False, include_context=True):
        problem = _problem(item, model)
        problems.setdefault((problem.pointer, problem.message), problem)
    return list(problems.values())


def wrong_kind(got: Any, kinds: Iterable[str] = KINDS) -> FieldProblem:
    """A kind that there is not, with those that there are."""
    if got in EXPANDED:
        hint = f"an {got} is expanded into jobs by the service: cmac submit, or POST /jobs"
        return FieldProblem("/kind", f"must be one of {', '.join(kinds)}", got, hint)
    return FieldProblem("/kind", f"must be one of {', '.join(kinds)}", got, _nearest(str(got), kinds))


def pointer_part(part: object) -> str:
    """One step of a JSON pointer, escaped (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _problem(item: Any, model: type[BaseModel] | None) -> FieldProblem:
    loc = item["loc"]
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):  # only kinds have tags that a user writes
        return wrong_kind(item["input"].get("kind") if isinstance(item["input"], dict) else item["input"])
    root, loc = (model, loc) if model else (_kind(loc[0]) if loc else None, loc[1:])
    path = [part for part in loc if not _is_form(part) and part != "[key]"]
    pointer = "".join(f"/{pointer_part(part)}" for part in path)
    if item["type"] == "extra_forbidden":
        return FieldProblem(pointer, "no such field", item["input"], _nearest(str(path[-1]), _siblings(root, loc)))
    message = item["msg"].removeprefix("Value error, ")
    hint = None
    if item["type"] == "literal_error" and item["input"]:
        hint = _nearest(str(item["input"]), re.findall(r"'([^']*)'", item["ctx"]["expected"]))
    return FieldProblem(pointer, message[0].lower() + message[1:], item["input"], hint)


def _is_form(part: object) -> bool:
    """Whether a step of an error's path is the tag of a union's member, and no field."""
    return isinstance(part, str) and part.startswith("<")


def _nearest(word: str, allowed: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(word, list(allowed), n=1)
    if not near:  # short names differ in too many of their letters for difflib
        near = [name for name in allowed if name.lower() in word.lower() or word.lower() in name.lower()][:1]
    return f"did you mean {near[0]}?" if near else None


def _kind(name: object) -> Any:
    kinds = get_args(get_args(JobSpec)[0])
    return next((kind for kind in kinds if kind.model_fields["kind"].default == name), None)


def _siblings(root: Any, loc: tuple[Any, ...]) -> list[str]:
    """The fields that stand where an unknown one was given."""
    node = root
    for part in loc[:-1]:
        node = _member(node, part) if _is_form(part) else _below(node, part)
    return list(node.model_fields) if _is_model(node) else []


def _below(node: Any, part: object) -> Any:
    """The type of a field; of an optional one what it is when given; of a place in a list the list's items."""
    if isinstance(part, int):
        return next(iter(get_args(node)), None)
    field = node.model_fields.get(part) if _is_model(node) else None
    if field is None:
        return None
    options = [member for member in get_args(field.annotation) if member is not type(None)]
    return options[0] if len(options) == 1 else field.annotation


def _member(union: Any, tag: object) -> Any:
    """The member of a tagged union, or of a tuple's item type, that a tag stands for."""
    members = (get_args(member) for member in get_args(union))
    return next((args[0] for args in members if len(args) > 1 and getattr(args[1], "tag", None) == tag), None)


def _is_model(node: Any) -> bool:
    return isinstance(node, type) and issubclass(node, BaseModel)
