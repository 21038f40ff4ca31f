"""A job's body while it is put together: every field knows where in the request it was written."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from cmac_core.specs import JOB_SPEC, JobSpec
from cmac_core.specs.presets import merged
from cmac_core.specs.problems import FieldProblem, field_problems, pointer_part

Body = dict[str, Any]


class BadExperiment(ValueError):
    """An experiment that cannot be expanded; `problems` point into its request."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{one.pointer or '/'}: {one.message}" for one in problems))


@dataclass(frozen=True)
class Draft:
    """`pointer` is where the body as a whole stands in the request; `sources` where single fields do."""

    body: Body
    pointer: str
    sources: tuple[tuple[str, str], ...] = ()  # ("/optim/lr", "/set/optim.lr"): later ones win

    def put(self, path: str, value: Any, source: str) -> "Draft":
        """With `a.b.c` set; objects on the way are made, anything else on the way is replaced."""
        return self.named("/" + path.replace(".", "/"), source)._merged(nested(path, value))

    def named(self, field: str, source: str) -> "Draft":
        """With a field's place in the request known."""
        return replace(self, sources=(*self.sources, (field, source)))

    def over(self, below: Body) -> "Draft":
        """With what is not said taken from `below`."""
        return replace(self, body=merged(below, self.body))

    def spec(self) -> JobSpec:
        """The spec. Raises BadExperiment with every wrong field."""
        try:
            return JOB_SPEC.validate_python(self.body)
        except ValidationError as error:
            problems = [one._replace(pointer=self.source(one.pointer)) for one in field_problems(error)]
            raise BadExperiment(problems) from error

    def source(self, field: str) -> str:
        """Where in the request a field of this body was written."""
        for known, source in reversed(self.sources if field else ()):
            if _within(field, known):
                return source + field.removeprefix(known)
            if _within(known, field):
                return source
        return SET if self.pointer == SET else self.pointer + field

    def _merged(self, change: Body) -> "Draft":
        return replace(self, body=merged(self.body, change))


SET = "/set"  # a recipe's own fields are right: what is wrong came from here


def nested(path: str, value: Any) -> Body:
    """`a.b` and 1 to {"a": {"b": 1}}."""
    for part in reversed(path.split(".")):
        value = {part: value}
    body: Body = value
    return body


def at(pointer: str, key: str) -> str:
    """A pointer to a member of what `pointer` points at."""
    return f"{pointer}/{pointer_part(key)}"


def _within(field: str, other: str) -> bool:
    return field == other or field.startswith(f"{other}/")
