"""What the lab's machines could ever offer, whatever they do now."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from store.policy import ANYWHERE, Wants
from store.states import DeviceKind, DeviceState
from store.tables import Device, Node


class Machine(NamedTuple):
    name: str
    gpus: int
    cpu_slots: int
    model: str = ""  # of its GPUs
    storage: str = ""
    labels: Mapping[str, str] = MappingProxyType({})


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

    def wanted(self, wants: Wants) -> "Capacity":
        """The machines that a job may go to."""
        return Capacity(tuple(one for one in self.nodes if wants.fit(one.model, one.labels)))

    def that_fit(self, gpus: int, cpu_slots: int, count: int = 1, wants: Wants = ANYWHERE) -> list[str]:
        """Names of the machines that could hold a job of as many devices on `count` that are alike; else none."""
        able = [
            one for one in self.wanted(wants).nodes
            if one.gpus >= gpus // count and one.cpu_slots >= cpu_slots // count
        ]  # fmt: skip
        alike = Counter((one.model if gpus else "", one.storage) for one in able)
        return [one.name for one in able if count == 1 or alike[one.model if gpus else "", one.storage] >= count]


def model_of(models: Iterable[str | None]) -> str:
    """The model of a node's GPUs; a mixed node has them all, and stands for itself."""
    return " + ".join(sorted({model for model in models if model}))


# Counted by the database: a submission asks for it, and hundreds of devices as rows take longer than all else in one.
_GPU, _CPU = (Device.kind == kind for kind in (DeviceKind.gpu, DeviceKind.cpu))
_KNOWN = (
    select(
        Node.name,
        func.count().filter(_GPU),
        func.count().filter(_CPU),
        func.array_agg(distinct(Device.model)).filter(_GPU),
        Node.storage_id,
        Node.labels,
    )
    .join(Device, Device.node_id == Node.id)
    .where(Device.state != DeviceState.missing)
    .group_by(Node.id)
    .order_by(Node.name)
)


def known(session: Session) -> Capacity:
    """All machines that ever joined, also those that are away now: what fits on one may wait for it."""
    return Capacity(
        tuple(
            Machine(name, gpus, slots, model_of(models or ()), storage or "", labels)
            for name, gpus, slots, models, storage, labels in session.execute(_KNOWN)
        )
    )
