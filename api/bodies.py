"""Bodies as typed values: job specs, and the small ones of operators."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from cmac_core.specs import JOB_SPEC, KINDS, JobSpec
from cmac_core.specs.experiment import Experiment
from cmac_core.specs.placement import Labels, Priority
from cmac_core.specs.problems import EXPANDED, FieldProblem, field_problems, wrong_kind
from cmac_core.specs.references import Slug
from store.errors import InvalidSpec
from store.keys import Role, Scope
from store.receivers import LONGEST_URL
from store.webhooks import Event

B = TypeVar("B", bound="Body")
ENDS: frozenset[Event] = frozenset({"job.succeeded", "job.failed", "job.cancelled", "experiment.finished"})
LABELS: TypeAdapter[dict[str, str]] = TypeAdapter(Labels)


def parse_spec(body: Any) -> JobSpec | Experiment:
    """A job's spec or an experiment's. Raises InvalidSpec with every wrong field at once."""
    if not isinstance(body, dict):
        raise InvalidSpec([FieldProblem("", "must be an object", body, 'for example {"kind": "retrieval", …}')])
    kind, taken = body.get("kind"), (*KINDS, *EXPANDED)
    if kind not in taken:
        raise InvalidSpec([wrong_kind(kind, taken)])
    if kind not in EXPANDED:
        return parse_job(body)
    try:
        return Experiment.model_validate(body)
    except ValidationError as error:
        raise InvalidSpec(field_problems(error, Experiment)) from error


def parse_job(body: dict[str, Any]) -> JobSpec:
    """The spec of a job of a known kind. Raises InvalidSpec with every wrong field at once."""
    try:
        return JOB_SPEC.validate_python(body)
    except ValidationError as error:
        raise InvalidSpec(field_problems(error)) from error


class Body(BaseModel):
    """A request body other than a spec. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SignIn(Body):
    """Who wants in, with a browser."""

    key: str = Field(max_length=200, description="An API key: `cmac_<id>_<secret>`.")


class NewRoot(Body):
    """A folder of the service's machines to read media from."""

    name: Slug
    path: str = Field(min_length=1, max_length=4000, description="Absolute.")


class NewWeights(Body):
    """A file of weights to import: POST /jobs with kind `import` can say more."""

    root: Slug = Field(description="Name of the root below which it lies.")
    path: str = Field(min_length=1, max_length=1000, description="Relative to the root.")
    layout: str = Field("auto", description="auto, torchvision, gdt, selavi or ours.")
    name: str = Field("", max_length=200, description="Of the job.")
    project: Slug = "default"

    def spec(self) -> dict[str, Any]:
        """The job's spec."""
        source = {"root": self.root, "path": self.path}
        queue = {"project": self.project}
        return {"kind": "import", "name": self.name, "source": source, "layout": self.layout, "queue": queue}


class NewKey(Body):
    """An API key to make."""

    name: str = Field("", max_length=200)
    user: str | None = Field(None, min_length=1, max_length=64, description="Whose key; without one your own.")
    role: Role = Field(Role.submitter, description="What it may do, never more than you.")
    project: Slug | None = Field(None, description="Only this project; without one what your own key sees.")
    days: float | None = Field(None, gt=0, le=3650, description="Until it expires; without: never.")
    scopes: frozenset[Scope] | None = Field(
        None, min_length=1, description="What it is limited to within its role; without them what your own key may."
    )

    @field_validator("scopes")
    @classmethod
    def _of_use_to_the_role(cls, scopes: frozenset[Scope] | None, info: ValidationInfo) -> frozenset[Scope] | None:
        role: Role | None = info.data.get("role")
        for scope in sorted(scopes or ()):
            if role is not None and not role.includes(scope.role):
                raise ValueError(f"{scope} needs role {scope.role} or more, not {role}")
        return scopes


class Rotation(Body):
    """How to replace a key."""

    grace_hours: float = Field(24, ge=0, le=168, description="How long the old one still opens.")


class NewWebhook(Body):
    """A receiver to tell of events."""

    url: str = Field(min_length=1, max_length=LONGEST_URL, description="https://… (http:// where operators allow it).")
    events: frozenset[Event] = Field(ENDS, min_length=1, description="What to tell it.")
    project: Slug | None = Field(None, description="Only this project's; without one what your own key sees.")


class NewQuota(Body):
    """What a user or a project may have at most; what is left out is without limit."""

    max_gpus: int | None = Field(None, ge=0, le=1_000_000, description="GPUs held at once.")
    max_running: int | None = Field(None, ge=0, le=1_000_000, description="Jobs with GPUs at once.")
    max_queued: int | None = Field(None, ge=0, le=1_000_000, description="Jobs of a user that wait.")
    share: float = Field(1.0, gt=0, le=1e6, description="Weight in fair share: with 2, twice as much counts as much.")


class NewProject(Body):
    """A project to make."""

    name: Slug


class NewUser(Body):
    """Somebody who may have keys."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    role: Role = Field(Role.submitter, description="The most that any of their keys may do.")


class ChangeUser(Body):
    """What may be changed of a user; only what is given is."""

    role: Role = Role.viewer
    disabled: bool = False

    def wanted(self) -> dict[str, Any]:
        """The fields that were given. Raises InvalidSpec without any."""
        return _given(self)


class NodeLabels(Body):
    """What a machine is, for jobs that ask for it: all of its labels."""

    labels: Labels


class Because(Body):
    """Why a machine is taken out."""

    reason: str = Field("", max_length=200)


class Retry(Body):
    """How to try again."""

    fresh: bool = Field(False, description="From the start, not from the last checkpoint.")
    walltime_s: float | None = Field(None, gt=0, le=1e8, description="Of the new job; without, that of the old one.")


class Change(Body):
    """What may be changed of a job that is there; only what is given is (RFC 7396)."""

    name: str = Field("", max_length=200)
    labels: dict[str, str | None] = Field({}, description="Added to those that it has; null takes one away.")
    priority: Priority = "normal"
    max_restarts: int = Field(0, ge=0, le=100)
    walltime_s: float | None = Field(None, gt=0, le=1e8, description="Running time in all; null: without limit.")

    def wanted(self, labels: dict[str, str]) -> dict[str, Any]:
        """The fields that were given, `labels` merged into those of the job. Raises InvalidSpec."""
        given = _given(self)
        if "labels" in given:
            merged = {key: value for key, value in {**labels, **self.labels}.items() if value is not None}
            try:
                given["labels"] = LABELS.validate_python(merged)
            except ValidationError as error:
                message = str(error.errors(include_url=False)[0]["msg"])
                raise InvalidSpec([FieldProblem("/labels", message, self.labels)]) from error
        return given


class RetryCells(Retry):
    """Which cells of an experiment to run again."""

    rows: tuple[str, ...] = Field((), max_length=2000, description="Keys of rows; none means all.")


def parse_body(kind: type[B], body: Any) -> B:
    """Raises InvalidSpec with every wrong field at once."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidSpec([_problem(item) for item in error.errors(include_url=False)]) from error


def _given(body: Body) -> dict[str, Any]:
    given = body.model_dump(exclude_unset=True)
    if not given:
        known = ", ".join(type(body).model_fields)
        raise InvalidSpec([FieldProblem("", "changes nothing", {}, f"give one or more of {known}")])
    return given


def _problem(item: Any) -> FieldProblem:
    pointer = "".join(f"/{part}" for part in item["loc"])
    message = "no such field" if item["type"] == "extra_forbidden" else str(item["msg"]).removeprefix("Value error, ")
    return FieldProblem(pointer, message[:1].lower() + message[1:], item["input"])
