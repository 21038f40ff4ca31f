"""What the database remembers of some jobs, read in one snapshot."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from store import database
from store.tables import (
    Artifact,
    Attempt,
    Checkpoint,
    DeviceLease,
    Job,
    JobEvent,
    Metric,
    Part,
    Result,
    ResultValue,
    Table,
)

Row = TypeVar("Row", bound=Table)


@dataclass
class History:
    """Rows of these jobs and of all that hangs on them; `leases` are those of every job of the lab."""

    jobs: list[Job] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    leases: list[DeviceLease] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    values: list[ResultValue] = field(default_factory=list)

    def next_to_run(self, attempt: Attempt) -> Attempt | None:
        """The job's first later attempt that came to run; those between were not started."""
        later = [one for one in self.attempts if one.job_id == attempt.job_id and one.epoch > attempt.epoch]
        return min((one for one in later if one.running_at), key=lambda one: one.epoch, default=None)

    def by_job(self, rows: Iterable[Row]) -> Iterator[tuple[Job, list[Row]]]:
        """Each job with its rows, in the order that they have here."""
        of: defaultdict[UUID, list[Row]] = defaultdict(list)
        for row in rows:
            of[row.job_id].append(row)  # type: ignore[attr-defined]
        return ((job, of[job.id]) for job in self.jobs)


def read(prefix: str) -> History:
    """The history of all jobs whose names begin so, as one moment shows it."""
    with database.sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        return seen(session, prefix)


def seen(session: Session, prefix: str = "") -> History:
    """The same as a session's own transaction shows it."""
    jobs = list(session.scalars(select(Job).where(Job.name.startswith(prefix)).order_by(Job.submitted_at)))
    ids = [job.id for job in jobs]

    def of(table: type[Row], *order: object) -> list[Row]:
        mine = table.job_id.in_(ids)  # type: ignore[attr-defined]
        return list(session.scalars(select(table).where(mine).order_by(*order)))  # type: ignore[arg-type]

    attempts = of(Attempt, Attempt.epoch)
    parts = select(Part).where(Part.attempt_id.in_([attempt.id for attempt in attempts]))
    return History(
        jobs=jobs,
        events=of(JobEvent, JobEvent.seq),
        attempts=attempts,
        parts=list(session.scalars(parts)),
        leases=list(session.scalars(select(DeviceLease).order_by(DeviceLease.leased_at))),
        metrics=of(Metric, Metric.step, Metric.epoch),
        checkpoints=of(Checkpoint, Checkpoint.epoch, Checkpoint.step),
        artifacts=of(Artifact, Artifact.epoch),
        results=of(Result),
        values=of(ResultValue, ResultValue.position),
    )
