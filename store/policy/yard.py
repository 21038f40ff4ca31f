"""The devices of one kind while a plan is made: places, reservations, and who leaves for them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from typing import NamedTuple
from uuid import UUID

from store.policy.values import (
    LOW,
    MOST_TRIED,
    NORMAL,
    PATIENCE,
    URGENT,
    Free,
    Patience,
    Pending,
    Placement,
    Running,
    Spot,
    Waiting,
    Wants,
)
from store.states import DeviceKind


@dataclass
class Reservation:
    """The nodes that are kept for the first job that does not fit, and from when on."""

    job: Pending
    spare: dict[UUID, int]  # by node: devices that the job leaves over
    start_s: float
    after: Running  # the job whose end makes room
    behind: int = 0  # jobs that wait for this one
    # What those are told, by devices on a node and by whether they were overtaken: the same for many in a row.
    told: dict[tuple[int, bool], Waiting] = field(default_factory=dict)


class Room(NamedTuple):
    """From when on a node has room for a job's part, and by which job's end (None: it has now)."""

    start_s: float
    name: str
    node: UUID
    after: Running | None


class Fit(NamedTuple):
    """Nodes where a job may go, all of them and by what they have in common."""

    nodes: list[Free]
    alike: list[list[Free]]
    largest: int  # that a node of them could hold one day


class Yard:
    """Devices of one kind while a plan is made: what is free, what comes free, what is kept."""

    def __init__(
        self,
        kind: DeviceKind,
        nodes: Sequence[Free],
        running: Sequence[Running],
        patience: Patience = PATIENCE,
        now_s: float = 0.0,
    ) -> None:
        self.kind, self.patience, self.now_s = kind, patience, now_s
        self.nodes = [node for node in nodes if node.kind is kind]
        self.names = {node.node: node.name for node in self.nodes}
        self.free = {node.node: list(node.free) for node in self.nodes}
        self.running: dict[UUID, list[Running]] = {node.node: [] for node in self.nodes}
        for one in running:
            if one.kind is kind and one.node in self.running:
                self.running[one.node].append(one)
        self.reserved: dict[Wants, Reservation] = {}  # one for each choice of nodes, and each node in one at most
        self._kept: dict[UUID, Reservation] = {}  # by node
        self._fits: dict[Wants, Fit] = {}
        self._most: dict[Wants, int] = {}  # free on one node; forgotten when something is placed
        self._refused: dict[tuple[Wants, int, int], float] = {}  # runtime: room only shrinks, so longer ones fail too
        self._stuck: dict[tuple[Wants, int, int], tuple[float, Reservation]] = {}

    def fit(self, wants: Wants) -> list[Free]:
        """The nodes that a job may go to."""
        return self._fit(wants).nodes

    def largest(self, wants: Wants) -> int:
        """The most devices that one of these nodes could hold one day."""
        return self._fit(wants).largest

    def could_hold(self, job: Pending) -> bool:
        """Whether its nodes could hold a job one day, were it alone."""
        return job.each <= self.largest(job.wants) and (job.nodes == 1 or self.alike_with(job) >= job.nodes)

    def alike_with(self, job: Pending) -> int:
        """How many nodes that are alike could each hold a part of a job one day."""
        return max((sum(node.total >= job.each for node in group) for group in self._groups(job)), default=0)

    def place(self, job: Pending) -> Placement | None:
        """The nodes with the fewest devices left over, among those where it delays nobody."""
        size = (job.wants, job.nodes, job.devices)
        if job.each > self._most_free(job.wants) or job.runtime_s >= self._refused.get(size, inf):
            return None
        choices = []
        for group in self._groups(job):
            open_ = [one for one in group if len(self.free[one.node]) >= job.each and self._delays_nobody(job, one)]
            if len(open_) >= job.nodes:
                fits = sorted((len(self.free[one.node]) - job.each, str(one.node), one.node) for one in open_)
                choices.append((sum(fit[0] for fit in fits[: job.nodes]), fits[: job.nodes]))
        if not choices:
            self._refused[size] = job.runtime_s
            return None
        return Placement(job.id, tuple(self._take(job, node) for _, _, node in min(choices)[1]))

    def _take(self, job: Pending, node: UUID) -> Spot:
        devices = tuple(self.free[node][: job.each])
        del self.free[node][: job.each]
        self._most.clear()
        if kept := self._kept.get(node):
            kept.told.clear()
            if job.runtime_s > kept.start_s:
                kept.spare[node] -= job.each
        self.running[node].append(Running(job.id, node, self.kind, job.each, job.runtime_s, job.guessed))
        return Spot(node, devices)

    def _delays_nobody(self, job: Pending, at: Free) -> bool:
        kept = self._kept.get(at.node)
        return kept is None or job.runtime_s <= kept.start_s or job.each <= kept.spare[at.node]

    def stuck_behind(self, job: Pending) -> Reservation | None:
        """What one of the same size, that may run no longer, was found to wait for: the same holds for this one."""
        stuck = self._stuck.get((job.wants, job.nodes, job.devices))
        return stuck[1] if stuck and job.runtime_s >= stuck[0] else None

    def ahead(self, job: Pending) -> Reservation | None:
        """The reservation that a job which does not fit has to wait for; None: it may have one of its own."""
        found = self.reserved.get(job.wants)
        if found is None and not any(len(group) >= job.nodes for group in self._unreserved(job)):
            found = next((self._kept[node.node] for node in self.fit(job.wants) if node.node in self._kept), None)
        if found is not None:
            self._stuck[job.wants, job.nodes, job.devices] = job.runtime_s, found
        return found

    def preempt(self, job: Pending) -> list[Running]:
        """The fewest jobs of lower tiers whose end makes room for this one; their nodes are then kept for it.

        Nobody when it has not waited long enough, or when jobs that are leaving already make room.
        """
        groups = list(self._unreserved(job))
        if self.now_s - job.submitted_s < self.patience.preempt_after_s or any(
            sum(self._leaves(node.node) >= job.each for node in group) >= job.nodes for group in groups
        ):
            return []
        choices = []
        for group in groups:
            found = [(self._fewest(job, node.node), node) for node in group]
            # Node by node: a job on two of them is asked for both, which may not be the fewest of all.
            able = sorted((_loss(some), node.name, node.node, some) for some, node in found if some is not None)
            if len(able) >= job.nodes:
                some = {one.job: one for *_, victims in able[: job.nodes] for one in victims}
                choices.append((_loss(list(some.values())), able[0][1], list(some.values()), able[: job.nodes]))
        if not choices:
            return []
        *_, victims, chosen = min(choices, key=lambda choice: choice[:2])
        last = victims[-1]._replace(left_s=self.patience.leaving_s, guessed=False)
        leaving = {one.job for one in victims}
        spare = {node: self._leaves(node, leaving) - job.each for *_, node, _ in chosen}
        self._keep(job, spare, self.patience.leaving_s, last)
        return victims

    def _leaves(self, node: UUID, asked: Collection[UUID] = ()) -> int:
        """Devices that are free or about to be."""
        leaving = (one.devices for one in self.running[node] if one.stopping or one.job in asked)
        return len(self.free[node]) + sum(leaving)

    def _fewest(self, job: Pending, node: UUID) -> list[Running] | None:
        """The best victims of one node; None when its jobs that may be asked do not make room."""
        missing = job.each - self._leaves(node)
        if missing <= 0:
            return []
        asked = sorted((one for one in self.running[node] if self._yields(one, job)), key=lambda one: _loss([one]))
        asked = sorted(asked, key=lambda one: -one.devices)[:MOST_TRIED] if len(asked) > MOST_TRIED else asked
        for count in range(1, len(asked) + 1):
            enough = [list(some) for some in combinations(asked, count) if sum(o.devices for o in some) >= missing]
            if enough:
                return min(enough, key=_loss)
        return None

    def _yields(self, one: Running, job: Pending) -> bool:
        """Whether a running job may be asked to leave for another: a lower tier, long enough at work, and willing."""
        willing = one.preemptible or one.tier == LOW or (job.tier == URGENT and one.tier == NORMAL)
        long_enough = one.ran_s >= self.patience.least_run_s
        return one.tier > job.tier and willing and long_enough and not (one.stopping or one.spared)

    def reserve(self, job: Pending) -> Reservation | None:
        """Keep the nodes that are the first to have room; None when no end of a job of ours makes any."""
        choices = []
        for group in self._unreserved(job):
            rooms = sorted(
                (room for node in group if (room := self._room(job, node))), key=lambda room: (room.start_s, room.name)
            )[: job.nodes]
            if len(rooms) == job.nodes and rooms[-1].after is not None:
                choices.append(rooms)
        if not choices:
            return None
        rooms = min(choices, key=lambda rooms: (rooms[-1].start_s, rooms[-1].name))
        start_s, after = rooms[-1].start_s, rooms[-1].after
        assert after is not None
        spare = {room.node: self._free_at(room.node, start_s) - job.each for room in rooms}
        return self._keep(job, spare, start_s, after)

    def _keep(self, job: Pending, spare: dict[UUID, int], start_s: float, after: Running) -> Reservation:
        made = self.reserved[job.wants] = Reservation(job, spare, start_s, after)
        self._kept |= dict.fromkeys(spare, made)
        self._stuck.clear()
        return made

    def _free_at(self, node: UUID, start_s: float) -> int:
        return len(self.free[node]) + sum(one.devices for one in self.running[node] if one.left_s <= start_s)

    def _room(self, job: Pending, node: Free) -> Room | None:
        """From when on a node has room; None: no end of a job makes any."""
        devices = len(self.free[node.node])
        if devices >= job.each:
            return Room(0.0, node.name, node.node, None)
        for one in sorted(self.running[node.node], key=lambda one: (one.left_s, one.job)):
            devices += one.devices
            if devices >= job.each:
                return Room(one.left_s, node.name, node.node, one)
        return None

    def _fit(self, wants: Wants) -> Fit:
        found = self._fits.get(wants)
        if found is None:
            nodes = [node for node in self.nodes if wants.fit(node.model, node.labels)]
            alike: dict[tuple[str, str], list[Free]] = {}
            for node in nodes:
                alike.setdefault(node.alike, []).append(node)
            largest = max((node.total for node in nodes), default=0)
            found = self._fits[wants] = Fit(nodes, list(alike.values()), largest)
        return found

    def _groups(self, job: Pending) -> list[list[Free]]:
        """Nodes that may share a job; where it has one node, all that it may go to."""
        return self._fit(job.wants).alike if job.nodes > 1 else [self.fit(job.wants)]

    def _unreserved(self, job: Pending) -> Iterator[list[Free]]:
        for group in self._groups(job):
            yield [node for node in group if node.node not in self._kept and node.total >= job.each]

    def _most_free(self, wants: Wants) -> int:
        if wants not in self._most:
            self._most[wants] = max((len(self.free[node.node]) for node in self.fit(wants)), default=0)
        return self._most[wants]


def _loss(victims: Sequence[Running]) -> tuple[int, int, float, float, list[UUID]]:
    """What is preferred among victims: few, of the lowest tiers, little work lost, young."""
    lost = sum(one.unsaved_s * one.devices for one in victims)
    return (
        len(victims),
        -sum(one.tier for one in victims),
        lost,
        sum(one.ran_s for one in victims),
        sorted(one.job for one in victims),
    )
