"""Who runs next and where: priority, then first come, first served; all devices of a job at once."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from store.states import DeviceKind


class Pending(NamedTuple):
    """A queued job, as the plan sees it; given in order."""

    id: UUID
    kind: DeviceKind
    devices: int
    wait_s: float = 0.0  # back-off that is left
    wait_text: str = ""


class Free(NamedTuple):
    """A node and what it offers of one kind."""

    node: UUID
    name: str
    kind: DeviceKind
    free: tuple[UUID, ...]  # devices in order of their index
    total: int  # devices that could ever be free
    foreign: int = 0  # free but held by processes of others


class Placement(NamedTuple):
    job: UUID
    node: UUID
    devices: tuple[UUID, ...]


class Waiting(NamedTuple):
    code: str
    text: str


class Plan(NamedTuple):
    placements: list[Placement]
    waiting: dict[UUID, Waiting]


class Pass(NamedTuple):
    """What one pass did."""

    leading: bool
    placed: int = 0
    waiting: int = 0
    seconds: float = 0.0


def plan(pending: Sequence[Pending], nodes: Sequence[Free]) -> Plan:
    """Places for as many as fit. A job that does not fit now is not overtaken by later ones of its kind."""
    raise NotImplementedError


def run_pass(holder: str) -> Pass:
    """One pass in one transaction of its own, if `holder` leads: read, plan, place, say why others wait."""
    raise NotImplementedError
