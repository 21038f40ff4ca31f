"""The order in which pending jobs are looked at: tiers, shares, age."""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from store.policy.values import (
    CHARGED_S,
    FREE_OF_LIMITS,
    HALVED_S,
    LOW,
    NORMAL,
    PROMOTED_S,
    WEIGHTS,
    Limits,
    Pending,
    Usage,
)

Entry = tuple[float, float, float, UUID, "Turn"]


class Line:
    """Pending jobs in the order in which they are looked at; whoever is placed is charged, which changes it."""

    def __init__(self, pending: Sequence[Pending], usage: Usage, limits: Limits | None = None) -> None:
        self._limits = limits or {}
        self._owners: dict[tuple[str, str], float] = dict(usage)
        self._projects: dict[str, float] = {}
        for (project, _), used in usage.items():
            self._projects[project] = self._projects.get(project, 0.0) + used
        self._tiers: dict[int, list[Pending]] = {}
        for job in pending:
            lifted = job.tier == LOW and job.waited_s > PROMOTED_S
            self._tiers.setdefault(NORMAL if lifted else job.tier, []).append(job)
        self._charged = False

    def __iter__(self) -> Iterator[Pending]:
        for tier in sorted(self._tiers):
            jobs = sorted(self._tiers[tier], key=lambda job: (-job.waited_s, job.id))
            yield from self._shared(jobs)

    def charge(self, job: Pending) -> None:
        """Count what a job placed now will use, so that its owner's next one is looked at later."""
        cost = min(job.runtime_s, CHARGED_S) * job.devices * WEIGHTS[job.kind]
        self._owners[job.project, job.owner] = self.used(job) + cost
        self._projects[job.project] = self._projects.get(job.project, 0.0) + cost
        self._charged = True

    def used(self, job: Pending) -> float:
        """Device-seconds of the job's owner in its project."""
        return self._owners.get((job.project, job.owner), 0.0)

    def used_by_project(self, job: Pending) -> float:
        """Device-seconds of the job's project."""
        return self._projects.get(job.project, 0.0)

    def _shared(self, jobs: Sequence[Pending]) -> Iterator[Pending]:
        """The least used project's least used owner's oldest, each time; equal ones by age."""
        queues: dict[tuple[str, str], deque[Pending]] = {}
        self._oldest: dict[str, float] = {}
        for job in jobs:
            self._oldest.setdefault(job.project, job.waited_s)
            queues.setdefault((job.project, job.owner), deque()).append(job)
        heap = self._heap(queues.values())
        while heap:
            *_, turn = heap[0]
            yield turn.jobs.popleft()
            if self._charged:
                heap, self._charged = self._heap(queues.values()), False
            elif turn.jobs:
                heapq.heapreplace(heap, turn.entry())
            else:
                heapq.heappop(heap)

    def _heap(self, queues: Iterable[deque[Pending]]) -> list[Entry]:
        heap = [self._turn(jobs).entry() for jobs in queues if jobs]
        heapq.heapify(heap)
        return heap

    def _turn(self, jobs: deque[Pending]) -> "Turn":
        job = jobs[0]
        of_project = self._projects.get(job.project, 0.0) * _counts(self._oldest[job.project])
        of_project /= self._limits.get(f"project:{job.project}", FREE_OF_LIMITS).share
        share = self._limits.get(f"user:{job.owner}", FREE_OF_LIMITS).share
        return Turn(of_project, self.used(job) / share, jobs)


class Turn(NamedTuple):
    """Waiting jobs of one owner in one project, oldest first, and what both have used by their weights."""

    of_project: float
    of_owner: float
    jobs: deque[Pending]

    def entry(self) -> Entry:
        """What decides when the oldest is looked at."""
        job = self.jobs[0]
        of_owner = self.of_owner and self.of_owner * _counts(job.waited_s)
        return self.of_project, of_owner, -job.waited_s, job.id, self


def _counts(waited_s: float) -> float:
    return math.pow(0.5, waited_s / HALVED_S)
