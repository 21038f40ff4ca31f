"""The life of a job: submit, look, cancel, retry. `move` is the only place that changes a job's state."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from cmac_core.specs import JobSpec
from store.keys import Principal
from store.states import JobState, StopFor
from store.tables import Job


class Page(NamedTuple):
    items: list[Job]
    next_cursor: str | None
    count: int | None = None  # only when asked for; at most 10,000


# Filters of `page`, as API 6 names them; `label.<key>` too.
FILTERS = (
    "state",
    "kind",
    "owner",
    "project",
    "dataset",
    "checkpoint",
    "node",
    "reason",
    "name",
    "submitted_after",
    "submitted_before",
)
SORTS = ("-submitted_at", "submitted_at", "-ended_at", "ended_at", "priority")


def submit(session: Session, spec: JobSpec, principal: Principal) -> Job:
    """Check a spec against what there is, store it and make its edges; wakes the scheduler.

    Raises InvalidSpec, UnknownReference, Incompatible, Infeasible (all with every error found),
    QuotaExceeded, Forbidden (urgent; foreign project).
    """
    raise NotImplementedError


def estimate(session: Session, spec: JobSpec, principal: Principal) -> dict[str, Any]:
    """The dry run (API 2.4): the same checks, nothing stored. Raises what `submit` raises."""
    raise NotImplementedError


def get(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Raises NotFound, also for a job of another project."""
    raise NotImplementedError


def page(
    session: Session,
    principal: Principal,
    filters: Mapping[str, Sequence[str]],
    sort: str = "-submitted_at",
    limit: int = 50,
    cursor: str | None = None,
    count: bool = False,
) -> Page:
    """One page by keyset over (sort column, id). `filters`: name -> values, or-ed. Raises BadFilter, BadCursor."""
    raise NotImplementedError


def cancel(session: Session, job_id: UUID, principal: Principal, *, force: bool = False, why: str = "") -> Job:
    """Ask for the end: at once while it waits, else the supervisor saves and leaves (`force`: without saving).

    Asking again changes nothing. Raises NotFound, IllegalMove (final otherwise), Forbidden (not yours).
    """
    raise NotImplementedError


def retry(session: Session, job_id: UUID, principal: Principal, *, fresh: bool = False) -> Job:
    """A new job of the same spec, from the last checkpoint unless `fresh`. Raises NotFound, IllegalMove, AlreadyExists."""
    raise NotImplementedError


def move(
    session: Session,
    job: Job,
    to: JobState,
    actor: str,
    *,
    reason: str | None = None,
    detail: str = "",
    hint: str = "",
    stop_for: StopFor | None = None,
) -> Job:
    """Change a locked job's state by the table of moves, write its event row, wake listeners. Raises IllegalMove."""
    raise NotImplementedError


def lock(session: Session, job_id: UUID) -> Job:
    """The job's row, fresh and locked till the transaction ends. Raises NotFound."""
    raise NotImplementedError


def position(session: Session, job: Job) -> int | None:
    """1 is next; None when it is not queued."""
    raise NotImplementedError


def queue(session: Session, limit: int = 200) -> list[Job]:
    """Queued jobs in the scheduler's order."""
    raise NotImplementedError


def edges(session: Session, job_id: UUID) -> dict[str, list[dict[str, str]]]:
    """{"after": [{job, kind, state}], "before": [...]}: parents and children."""
    raise NotImplementedError


def allowed(job: Job) -> list[str]:
    """Verbs that this job's state admits now (for `links` and 409's `allowed`): cancel, retry."""
    raise NotImplementedError


def counts(session: Session) -> dict[tuple[str, str], int]:
    """(state, kind) -> jobs, for Prometheus."""
    raise NotImplementedError
