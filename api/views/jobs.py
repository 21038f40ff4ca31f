"""Jobs, their attempts and events, as they leave."""

from typing import Any, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api.views.base import ListView, Time, View
from store import jobs
from store.states import Priority
from store.tables import Job


class LinksView(View):
    """Where to go on from a job."""

    self: str
    result: str
    events: str
    logs: str
    metrics: str
    cancel: str | None = None
    pause: str | None = None
    resume: str | None = None
    hold: str | None = None
    release: str | None = None
    retry: str | None = None


class JobRow(View):
    """A job as lists show it."""

    id: UUID
    kind: str
    name: str
    state: str
    version: int = Field(description="Rises with the row; If-Match compares it.")
    project: str
    owner: str
    priority: str
    labels: dict[str, str]
    reason: str | None
    detail: str | None
    hint: str | None
    submitted_at: Time
    started_at: Time | None
    ended_at: Time | None
    epoch: int = Field(description="How often the job was placed on a machine.")
    user_restarts: int
    infra_restarts: int
    walltime_s: float | None = Field(description="Running time that it may have in all.")
    used_s: float = Field(description="Running time of attempts that are over.")
    gpus: int
    cpu_slots: int
    nodes: int = Field(description="That share its devices.")
    seed: int
    spec_sha256: str
    retry_of: UUID | None
    dataset_id: UUID | None
    checkpoint_id: UUID | None
    checkpoint_job: UUID | None
    waiting: dict[str, Any] | None = Field(description="Why it does not run: code, text, expected_start.")
    logs_removed_at: Time | None = Field(description="By retention, some time after the job's end.")
    curves_thinned_at: Time | None = Field(description="By retention: of long curves some points a part remain.")
    events_removed_at: Time | None = Field(description="By retention: of its events warnings and the end remain.")
    progress: dict[str, Any] | None = Field(description="phase, step, of, rate, unit, eta_s of the newest attempt.")
    links: LinksView

    @classmethod
    def of(cls, job: Job) -> Self:
        """The view of a row."""
        return cls.model_validate(_members(job))


class JobListView(ListView[JobRow]):
    """Jobs; `count` is there when it was asked for."""

    count: int | None = None


class JobView(JobRow):
    """One job with everything about it."""

    position: int | None = Field(description="Place in the queue, 1 is next; null when it does not wait for a place.")
    after: list[dict[str, str]] = Field(description="Jobs that it waits for, or waited for.")
    before: list[dict[str, str]] = Field(description="Jobs that wait for it.")
    spec: dict[str, Any] = Field(description="As it was resolved: every field, names with versions.")
    sent: dict[str, Any] | None = Field(description="As it was submitted; null for jobs of an experiment.")
    git_sha: str | None
    lock_sha256: str | None

    @classmethod
    def whole(cls, session: Session, job: Job) -> Self:
        """The view of a row and what belongs to it."""
        more = {
            "position": jobs.position(session, job),
            "spec": job.spec,
            "sent": job.sent,
            **jobs.edges(session, job.id),
        }
        return cls.model_validate(_members(job) | more)


_PRIORITIES = tuple(Priority)
# Without what no list reads.
_COLUMNS = tuple(column.key for column in Job.__table__.columns if column.key not in ("spec", "sent"))


def _members(job: Job) -> dict[str, Any]:
    loaded = vars(job)  # a list asks for thousands of attributes, and each costs ten times as much by its name
    columns = {name: loaded[name] if name in loaded else getattr(job, name) for name in _COLUMNS}
    return columns | {"priority": _PRIORITIES[job.priority], "links": _links(job)}


def _links(job: Job) -> LinksView:
    here = f"/jobs/{job.id}"
    verbs = {verb: f"{here}/{verb}" for verb in jobs.allowed(job)}
    return LinksView(
        self=here,
        result=f"/results/{job.id}",
        events=f"{here}/events/stream",
        logs=f"{here}/logs",
        metrics=f"{here}/metrics",
        **verbs,
    )


class EventView(View):
    """Something that happened to a job."""

    seq: int
    at: Time
    type: str
    actor: str
    data: dict[str, Any]
