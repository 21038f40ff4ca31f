"""The devices of one kind while a plan is made: places, the reservation, and who leaves for it."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple
from uuid import UUID

from store.policy.values import (
    LEAST_RUN_S,
    LEAVING_S,
    LOW,
    MOST_TRIED,
    NORMAL,
    PREEMPT_AFTER_S,
    URGENT,
    Free,
    Pending,
    Placement,
    Running,
)
from store.states import DeviceKind


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

    def preempt(self, job: Pending) -> list[Running]:
        """The fewest jobs of lower tiers whose end makes room for this one; their node is then kept for it.

        Nobody when it has not waited long enough, or when jobs that are leaving already make room.
        """
        if job.waited_s < PREEMPT_AFTER_S or any(self._leaves(node) >= job.devices for node in self.free):
            return []
        choices = [found for node in self.free if (found := self._fewest(job, node))]
        if not choices:
            return []
        node, victims = min(choices, key=lambda choice: (_loss(choice[1]), self.names[choice[0]]))
        last = victims[-1]._replace(left_s=LEAVING_S, guessed=False)
        self.reserved = Reservation(job, node, LEAVING_S, last)
        self.spare = self._leaves(node) + sum(one.devices for one in victims) - job.devices
        return victims

    def _leaves(self, node: UUID) -> int:
        """Devices that are free or about to be."""
        return len(self.free[node]) + sum(one.devices for one in self.running[node] if one.stopping)

    def _fewest(self, job: Pending, node: UUID) -> tuple[UUID, list[Running]] | None:
        """The best victims of one node; None when its jobs that may be asked do not make room."""
        missing = job.devices - self._leaves(node)
        asked = sorted((one for one in self.running[node] if _yields(one, job)), key=lambda one: _loss([one]))
        asked = sorted(asked, key=lambda one: -one.devices)[:MOST_TRIED] if len(asked) > MOST_TRIED else asked
        for count in range(1, len(asked) + 1):
            enough = [list(some) for some in combinations(asked, count) if sum(o.devices for o in some) >= missing]
            if enough:
                return node, min(enough, key=_loss)
        return None

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


def _yields(one: Running, job: Pending) -> bool:
    """Whether a running job may be asked to leave for another: a lower tier, long enough at work, and willing."""
    willing = one.preemptible or one.tier == LOW or (job.tier == URGENT and one.tier == NORMAL)
    return one.tier > job.tier and willing and one.ran_s >= LEAST_RUN_S and not (one.stopping or one.spared)


def _loss(victims: Sequence[Running]) -> tuple[int, float, float, list[UUID]]:
    """What is preferred among victims: few, little work lost, young."""
    lost = sum(one.unsaved_s * one.devices for one in victims)
    return len(victims), lost, sum(one.ran_s for one in victims), sorted(one.job for one in victims)
