"""All that the service has written down of the afternoon, and what was seen of it meanwhile."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from afternoon.script import Story
from afternoon.watch import Watch
from chaos import history
from chaos.history import History
from store import database
from store.states import DeviceKind, JobState
from store.tables import Attempt, Audit, Device, DeviceLease, Job, JobEvent, Node


class Placed(NamedTuple):
    """A job that was given devices."""

    at: datetime
    job: Job
    attempt: Attempt
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Records:
    """Rows of the database, what was seen while it happened, and the story behind it."""

    story: Story
    watch: Watch
    history: History
    trail: list[Audit]
    nodes: dict[UUID, str]
    gpus: dict[UUID, str]  # device -> its machine's name

    def job(self, name: str) -> Job:
        return next(job for job in self.history.jobs if job.name == name)

    def attempts(self, job: Job) -> list[Attempt]:
        """By epoch."""
        return [one for one in self.history.attempts if one.job_id == job.id]

    def events(self, job: Job) -> list[JobEvent]:
        """In their order."""
        return [one for one in self.history.events if one.job_id == job.id]

    def leases(self, attempt: Attempt) -> list[DeviceLease]:
        """Of GPUs."""
        return [one for one in self.history.leases if one.attempt_id == attempt.id and one.gpu_id in self.gpus]

    def nodes_of(self, attempt: Attempt) -> tuple[str, ...]:
        return tuple(sorted({self.gpus[lease.gpu_id] for lease in self.leases(attempt)}))

    def placed(self) -> Iterator[Placed]:
        """All placements in their order."""
        made = []
        for job in self.history.jobs:
            for attempt in self.attempts(job):
                at = min(lease.leased_at for lease in self.leases(attempt))
                made.append(Placed(at, job, attempt, self.nodes_of(attempt)))
        return iter(sorted(made, key=lambda one: one.at))

    def queued(self, job: Job) -> list[tuple[datetime, datetime]]:
        """When it waited for a place: from, until."""
        spells, since = [], None
        for event in self.events(job):
            state = event.data.get("state") if event.type in ("state", "end") else None
            if state == JobState.queued:
                since = event.at
            elif state and since is not None:
                spells.append((since, event.at))
                since = None
        return spells

    def used(self, at: datetime) -> dict[tuple[str, str], float]:
        """GPU-seconds that each (project, owner) had used by then."""
        seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        for lease in self.history.leases:
            if lease.gpu_id in self.gpus and lease.leased_at < at:
                until = min(lease.released_at or at, at)
                seconds[lease.project, lease.owner] += (until - lease.leased_at).total_seconds()
        return dict(seconds)

    def held(self, owner: str, at: datetime) -> int:
        """GPUs of somebody at a moment."""
        mine = (lease for lease in self.history.leases if lease.owner == owner and lease.gpu_id in self.gpus)
        return sum(one.leased_at <= at and (one.released_at is None or at < one.released_at) for one in mine)


def read(story: Story, watch: Watch) -> Records:
    """Everything, once all is over."""
    with database.sessions() as session:
        trail = list(session.scalars(select(Audit).order_by(Audit.at)))
        nodes = {node.id: node.name for node in session.scalars(select(Node))}
        devices = session.scalars(select(Device).where(Device.kind == DeviceKind.gpu)).all()
    gpus = {device.id: nodes[device.node_id] for device in devices}
    return Records(story, watch, history.read(""), trail, nodes, gpus)
