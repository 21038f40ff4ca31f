"""What the lab's machines could ever offer, whatever they do now."""

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.states import DeviceKind, DeviceState
from store.tables import Device, Node


class Machine(NamedTuple):
    name: str
    gpus: int
    cpu_slots: int


class Capacity(NamedTuple):
    nodes: tuple[Machine, ...]

    @property
    def gpus(self) -> int:
        """Most GPUs on one machine."""
        return max((machine.gpus for machine in self.nodes), default=0)

    @property
    def cpu_slots(self) -> int:
        """Most CPU slots on one machine."""
        return max((machine.cpu_slots for machine in self.nodes), default=0)

    def that_fit(self, gpus: int, cpu_slots: int) -> list[str]:
        """Names of the machines that have as many."""
        return [one.name for one in self.nodes if one.gpus >= gpus and one.cpu_slots >= cpu_slots]


def known(session: Session) -> Capacity:
    """All machines that ever joined, also those that are away now: what fits on one may wait for it."""
    count = {kind: func.count().filter(Device.kind == kind) for kind in DeviceKind}
    rows = session.execute(
        select(Node.name, count[DeviceKind.gpu], count[DeviceKind.cpu])
        .join(Device, Device.node_id == Node.id)
        .where(Device.state != DeviceState.missing)
        .group_by(Node.name)
        .order_by(Node.name)
    )
    return Capacity(tuple(Machine(*row) for row in rows))
