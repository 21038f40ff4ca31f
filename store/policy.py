"""Who runs next and where: the whole policy, over plain values (QUEUE 4). No database and no clock of its own.

Tiers first; within one, who has used less of late (the less so the longer a job waits); then age. All devices of a job
at once, on one node. The first job of a kind that does not fit gets a reservation, and later ones may only start where
they cannot delay it (EASY).
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from store.states import DeviceKind, Priority

HOUR = 3600.0
DAY = 24 * HOUR
HALVED_S = DAY  # each time a job has waited this long, what its owner has used counts half: nobody starves
PROMOTED_S = 7 * DAY  # a job of the lowest tier that has waited this long is ordered as a normal one
CHARGED_S = HOUR  # of a job placed in this pass, at most: its owner's next one falls back at once
WEIGHTS = {DeviceKind.gpu: 1.0, DeviceKind.cpu: 0.02}  # of a device-second in shares
NORMAL, LOW = Priority.normal.rank, Priority.low.rank
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Usage = Mapping[tuple[str, str], float]  # (project, owner) -> device-seconds, decayed


class Limit(NamedTuple):
    """What a user or project may have of GPUs and of jobs on them (None: no limit), and its weight in shares."""

    gpus: int | None = None
    running: int | None = None
    share: float = 1.0


Limits = Mapping[str, Limit]  # by user:NAME or project:NAME
FREE_OF_LIMITS = Limit()


class Pending(NamedTuple):
    """A queued job, as the plan sees it."""

    id: UUID
    kind: DeviceKind
    devices: int
    wait_s: float = 0.0  # back-off that is left
    wait_text: str = ""
    tier: int = NORMAL
    project: str = ""
    owner: str = ""
    waited_s: float = 0.0  # since it was submitted
    runtime_s: float = DAY  # for how long it may hold its devices
    guessed: bool = False  # nobody knows for how long: runtime_s is the longest that is planned with


class Free(NamedTuple):
    """A node and what it offers of one kind."""

    node: UUID
    name: str
    kind: DeviceKind
    free: tuple[UUID, ...]  # devices in order of their index
    total: int  # devices that could be free one day
    foreign: int = 0  # free but held by processes of others


class Running(NamedTuple):
    """A job on a node, and when its devices are expected back."""

    job: UUID
    node: UUID
    kind: DeviceKind
    devices: int
    left_s: float
    guessed: bool = False
    project: str = ""
    owner: str = ""


class Placement(NamedTuple):
    job: UUID
    node: UUID
    devices: tuple[UUID, ...]


class Waiting(NamedTuple):
    code: str
    text: str
    start: datetime | None = None  # when it is expected to start


class Plan(NamedTuple):
    placements: list[Placement]
    waiting: dict[UUID, Waiting]


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
            self._tiers.setdefault(_tier(job), []).append(job)
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

    def _shared(self, jobs: Sequence[Pending]) -> Iterator[Pending]:
        """The least used project's least used owner's oldest, each time; equal ones by age."""
        queues: dict[tuple[str, str], deque[Pending]] = {}
        self._oldest: dict[str, float] = {}
        for job in jobs:
            self._oldest.setdefault(job.project, job.waited_s)
            queues.setdefault((job.project, job.owner), deque()).append(job)
        heap = self._heap(queues)
        while heap:
            *_, who = heapq.heappop(heap)
            yield queues[who].popleft()
            if self._charged:
                heap, self._charged = self._heap(queues), False
            elif queues[who]:
                heapq.heappush(heap, self._entry(queues[who][0]))

    def _heap(
        self, queues: Mapping[tuple[str, str], deque[Pending]]
    ) -> list[tuple[float, float, float, UUID, tuple[str, str]]]:
        heap = [self._entry(queue[0]) for queue in queues.values() if queue]
        heapq.heapify(heap)
        return heap

    def _entry(self, job: Pending) -> tuple[float, float, float, UUID, tuple[str, str]]:
        of_project = self._projects.get(job.project, 0.0) * _counts(self._oldest[job.project])
        of_project /= self._limits.get(f"project:{job.project}", FREE_OF_LIMITS).share
        of_owner = self.used(job) * _counts(job.waited_s)
        of_owner /= self._limits.get(f"user:{job.owner}", FREE_OF_LIMITS).share
        return of_project, of_owner, -job.waited_s, job.id, (job.project, job.owner)


def _counts(waited_s: float) -> float:
    return math.pow(0.5, waited_s / HALVED_S)


def _tier(job: Pending) -> int:
    return NORMAL if job.tier == LOW and job.waited_s > PROMOTED_S else job.tier


class Quotas:
    """What users and projects hold of what they may, while a plan is made."""

    def __init__(self, limits: Limits, running: Sequence[Running]) -> None:
        self._limits = limits
        self._gpus: dict[str, int] = {}
        self._jobs: dict[str, int] = {}
        for one in running:
            if one.kind is DeviceKind.gpu:
                self.take(one)

    def take(self, job: Pending | Running) -> None:
        """Count a job that has its devices."""
        if self._limits and job.kind is DeviceKind.gpu:
            for subject in (f"user:{job.owner}", f"project:{job.project}"):
                self._gpus[subject] = self._gpus.get(subject, 0) + job.devices
                self._jobs[subject] = self._jobs.get(subject, 0) + 1

    def refuses(self, job: Pending) -> str | None:
        """Why a job has to wait for others of its owner or project; None when it has not."""
        if not self._limits or job.kind is not DeviceKind.gpu:
            return None
        for whose, subject in (("your", f"user:{job.owner}"), (f"project {job.project}'s", f"project:{job.project}")):
            limit = self._limits.get(subject, FREE_OF_LIMITS)
            gpus, jobs = self._gpus.get(subject, 0), self._jobs.get(subject, 0)
            if limit.gpus is not None and gpus + job.devices > limit.gpus:
                more = f"; this one needs {job.devices}" if job.devices > 1 else ""
                return f"{whose} running jobs hold {gpus} of the {limit.gpus} GPUs allowed{more}"
            if limit.running is not None and jobs >= limit.running:
                return f"{whose} running jobs are {jobs} of the {limit.running} allowed"
        return None


class Reservation(NamedTuple):
    """The node that is kept for the first job that does not fit, and from when on."""

    job: Pending
    node: UUID
    start_s: float
    after: Running  # the job whose end makes room


class Yard:
    """Devices of one kind while a plan is made: what is free, what comes free, what is kept."""

    def __init__(self, kind: DeviceKind, nodes: Sequence[Free], running: Sequence[Running]) -> None:
        self.kind = kind
        self.nodes = [node for node in nodes if node.kind is kind]
        self.names = {node.node: node.name for node in self.nodes}
        self.free = {node.node: list(node.free) for node in self.nodes}
        self.most = max(map(len, self.free.values()), default=0)  # free on one node
        self.largest = max((node.total for node in self.nodes), default=0)  # that a node could hold one day
        self.running: dict[UUID, list[Running]] = {node.node: [] for node in self.nodes}
        for one in running:
            if one.kind is kind and one.node in self.running:
                self.running[one.node].append(one)
        self.reserved: Reservation | None = None
        self.spare = 0  # devices of the reserved node that its job leaves over
        self.behind = 0  # jobs that wait for the reserved one

    def place(self, job: Pending) -> Placement | None:
        """The node with the fewest devices left over, among those where it delays nobody."""
        if job.devices > self.most:
            return None
        left = [(len(free) - job.devices, str(node), node) for node, free in self.free.items()]
        fits = [fit for fit in left if fit[0] >= 0 and self._delays_nobody(job, fit[2])]
        if not fits:
            return None
        node = min(fits)[2]
        devices = tuple(self.free[node][: job.devices])
        del self.free[node][: job.devices]
        self.most = max(map(len, self.free.values()))
        if self.reserved and node == self.reserved.node and job.runtime_s > self.reserved.start_s:
            self.spare -= job.devices
        self.running[node].append(Running(job.id, node, self.kind, job.devices, job.runtime_s, job.guessed))
        return Placement(job.id, node, devices)

    def _delays_nobody(self, job: Pending, node: UUID) -> bool:
        if self.reserved is None or node != self.reserved.node:
            return True
        return job.runtime_s <= self.reserved.start_s or job.devices <= self.spare

    def reserve(self, job: Pending) -> Reservation | None:
        """Keep the node that is the first to have room; None when no end of a job of ours makes any."""
        rooms = [room for node in self.nodes if (room := self._room(job, node.node))]
        if not rooms:
            return None
        self.reserved = min(rooms, key=lambda room: (room.start_s, self.names[room.node]))
        node, start_s = self.reserved.node, self.reserved.start_s
        ends = sum(one.devices for one in self.running[node] if one.left_s <= start_s)
        self.spare = len(self.free[node]) + ends - job.devices
        return self.reserved

    def _room(self, job: Pending, node: UUID) -> Reservation | None:
        """From when on a node has room, and by which job's end; None: by none."""
        devices = len(self.free[node])
        for one in sorted(self.running[node], key=lambda one: (one.left_s, one.job)):
            devices += one.devices
            if devices >= job.devices:
                return Reservation(job, node, one.left_s, one)
        return None


def plan(
    pending: Sequence[Pending],
    nodes: Sequence[Free],
    running: Sequence[Running] = (),
    usage: Usage | None = None,
    now: datetime = EPOCH,
    limits: Limits | None = None,
) -> Plan:
    """Places for as many as fit, and for each of the others why it waits. `now` is for what texts say of times.

    One that backs off, is over its quota, or that no node here could ever hold, keeps nobody from the devices.
    """
    line, quotas = Line(pending, usage or {}, limits), Quotas(limits or {}, running)
    yards = {kind: Yard(kind, nodes, running) for kind in DeviceKind}
    made = Plan([], {})
    for job in line:
        yard = yards[job.kind]
        if job.wait_s > 0:
            made.waiting[job.id] = Waiting("backoff", job.wait_text)
        elif job.devices > yard.largest:
            made.waiting[job.id] = _infeasible(job, yard)
        elif over := quotas.refuses(job):
            made.waiting[job.id] = Waiting("quota", over)
        elif placement := yard.place(job):
            line.charge(job)
            quotas.take(job)
            made.placements.append(placement)
        elif yard.reserved is None:
            made.waiting[job.id] = _first(job, yard, now)
        else:
            yard.behind += 1
            made.waiting[job.id] = _behind(job, yard, yard.reserved, line)
    return made


def _first(job: Pending, yard: Yard, now: datetime) -> Waiting:
    """Why the first that does not fit waits, and what is kept for it."""
    where = max(yard.free, key=lambda node: (len(yard.free[node]), yard.names[node]))
    text = f"needs {_count(job.devices, job.kind)} on one node; most free: {yard.most} on {yard.names[where]}"
    kept = yard.reserve(job)
    if kept is None:
        foreign = [node for node in yard.nodes if node.foreign]
        if not foreign:
            return Waiting("resources", text)
        held, holders = sum(node.foreign for node in foreign), ", ".join(node.name for node in foreign)
        return Waiting("foreign_process", f"{text}; {_count(held, job.kind)} on {holders} held by processes of others")
    if kept.after.guessed:
        return Waiting("resources", f"{text}; job {kept.after.job} has to end")
    # Whole minutes: an estimate moves with every pass, and whoever reads does not care for seconds.
    start = (now + timedelta(seconds=kept.start_s + 59)).replace(second=0, microsecond=0)
    when = f"{start:%H:%M} UTC" if start.date() == now.date() else f"{start:%d %b %H:%M} UTC"
    return Waiting("resources", f"{text}. Expected {when}, when job {kept.after.job} should end", start)


def _behind(job: Pending, yard: Yard, kept: Reservation, line: Line) -> Waiting:
    free = len(yard.free[kept.node])
    ahead = _ahead(yard.behind, kept.job.id)
    if free >= job.devices:
        name = yard.names[kept.node]
        text = f"{_count(free, job.kind)} on {name} free but kept for job {kept.job.id}, which this one could delay"
        return Waiting("reserved", f"{text}; {ahead}")
    overtaken = kept.job.tier == job.tier and kept.job.waited_s < job.waited_s
    if overtaken and (job.project, job.owner) != (kept.job.project, kept.job.owner):
        used = f"you used {_hours(line.used(job))} GPU-hours of late, {kept.job.owner} {_hours(line.used(kept.job))}"
        return Waiting("fair_share", f"{ahead}; {used}" if yard.behind <= 20 else ahead)
    return Waiting("priority", ahead)


def _infeasible(job: Pending, yard: Yard) -> Waiting:
    here = f"the largest that works now has {yard.largest}" if yard.largest else "no node with any works now"
    return Waiting("infeasible", f"needs {_count(job.devices, job.kind)} on one node; {here}")


def _ahead(place: int, first: UUID) -> str:
    # Rounded beyond 20, or each placement would rewrite the text of every job in a long queue.
    limit = next((limit for limit in (5000, 2000, 1000, 500, 200, 100, 50, 20) if place > limit), None)
    return _ahead_text(f"more than {limit} jobs" if limit else f"{place} job{'s' if place > 1 else ''}", first)


@lru_cache(maxsize=64)
def _ahead_text(jobs: str, first: UUID) -> str:
    return f"{jobs} ahead; next is {first}"


def _hours(seconds: float) -> str:
    hours = seconds / HOUR
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def _count(devices: int, kind: DeviceKind) -> str:
    name = "GPU" if kind is DeviceKind.gpu else "CPU slot"
    return f"{devices} {name}{'s' if devices > 1 else ''}"
