"""What specs name, each looked up once in a transaction: the many jobs of an experiment name the same."""

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from store import capacity, datasets, made
from store.capacity import Capacity
from store.keys import Principal
from store.made import Made
from store.tables import Checkpoint, Dataset, Job, Project

K = TypeVar("K")
V = TypeVar("V")


class Found(dict[K, V]):
    """By name; what has not been asked for yet is looked up. None is an answer too."""

    def __init__(self, find: Callable[[K], V]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: K) -> V:
        self[key] = found = self._find(key)
        return found


class References:
    """The lab as one submission sees it.

    `parents` are jobs that others wait for, locked FOR SHARE: none becomes final between this look and our commit,
    which its end would not see. Jobs of the same submission, which are not stored yet, are put there by who made them.
    """

    def __init__(self, session: Session, principal: Principal) -> None:
        self.session, self.principal = session, principal
        self.projects: Found[str, bool] = Found(self._is_project)
        self.datasets: Found[str, Dataset | None] = Found(lambda name: datasets.find(session, name, principal))
        self.parents: Found[UUID, Job | None] = Found(self._lock_parent)
        self.checkpoints: Found[UUID, Checkpoint | None] = Found(lambda one: made.lock_named(session, one))
        self.makers: Found[UUID, Job | None] = Found(lambda one: session.get(Job, one))  # of checkpoints
        self.left: Found[Job, Checkpoint | None] = Found(lambda job: made.left_by(session, job))
        self.made: Found[Job, Made] = Found(lambda job: made.made(session, job))

    @cached_property
    def capacity(self) -> Capacity:
        """What the lab's machines could ever offer."""
        return capacity.known(self.session)

    def _is_project(self, name: str) -> bool:
        return self.session.scalar(select(Project.id).where(Project.name == name)) is not None

    def _lock_parent(self, job_id: UUID) -> Job | None:
        query = select(Job).where(Job.id == job_id).with_for_update(read=True).execution_options(populate_existing=True)
        job = self.session.scalar(query)
        return job if job is not None and job.deleted_at is None and self.principal.sees(job.project) else None
