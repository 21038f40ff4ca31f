"""The order in which pending jobs are looked at: tiers, shares, age."""

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
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

# Jobs of one owner in one project, oldest first, and before them what decides when the oldest is looked at: what the
# project has used, what the owner has (as it counts for that job), when it was submitted, its id; then the owner's use.
Turn = tuple[float, float, float, UUID, float, deque[Pending]]

_AGE = attrgetter("submitted_s", "id")


class Line:
    """Pending jobs in the order in which they are looked at; whoever is placed is charged, which changes it."""

    def __init__(
        self, pending: Sequence[Pending], usage: Usage, limits: Limits | None = None, now_s: float = 0.0
    ) -> None:
        self._limits, self._now_s = limits or {}, now_s
        self._owners: dict[tuple[str, str], float] = dict(usage)
        self._projects: dict[str, float] = {}
        for (project, _), used in usage.items():
            self._projects[project] = self._projects.get(project, 0.0) + used
        self._tiers: dict[int, list[Pending]] = {}
        for job in pending:
            lifted = job.tier == LOW and now_s - job.submitted_s > PROMOTED_S
            self._tiers.setdefault(NORMAL if lifted else job.tier, []).append(job)
        self._charged = False

    def __iter__(self) -> Iterator[Pending]:
        for tier in sorted(self._tiers):
            yield from self._shared(sorted(self._tiers[tier], key=_AGE))

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
        queues = defaultdict[tuple[str, str], deque[Pending]](deque)
        self._oldest: dict[str, float] = {}
        for job in jobs:
            self._oldest.setdefault(job.project, job.submitted_s)
            queues[job.project, job.owner].append(job)
        heap = self._heap(queues.values())
        while heap:
            of_project, _, _, _, of_owner, waiting = heap[0]
            yield waiting.popleft()
            if self._charged:
                heap, self._charged = self._heap(queues.values()), False
            elif waiting:
                job = waiting[0]
                counts = 0.5 ** ((self._now_s - job.submitted_s) / HALVED_S) if of_owner else 0.0
                turn = of_project, of_owner * counts, job.submitted_s, job.id, of_owner, waiting
                heapq.heapreplace(heap, turn)  # as `_turn` says; 10,000 calls of it took a twentieth of a pass
            else:
                heapq.heappop(heap)

    def _heap(self, queues: Iterable[deque[Pending]]) -> list[Turn]:
        heap = [self._turn(*self._used(jobs[0]), jobs) for jobs in queues if jobs]
        heapq.heapify(heap)
        return heap

    def _used(self, job: Pending) -> tuple[float, float]:
        """What a job's project and owner have used by their weights."""
        of_project = self._projects.get(job.project, 0.0) * self._counts(self._oldest[job.project])
        of_project /= self._limits.get(f"project:{job.project}", FREE_OF_LIMITS).share
        return of_project, self.used(job) / self._limits.get(f"user:{job.owner}", FREE_OF_LIMITS).share

    def _turn(self, of_project: float, of_owner: float, jobs: deque[Pending]) -> Turn:
        job = jobs[0]
        now_of_owner = of_owner and of_owner * self._counts(job.submitted_s)
        return of_project, now_of_owner, job.submitted_s, job.id, of_owner, jobs

    def _counts(self, submitted_s: float) -> float:
        """Which share of what its owner has used still counts for a job as old as this."""
        return math.pow(0.5, (self._now_s - submitted_s) / HALVED_S)
