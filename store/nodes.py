"""Machines and their devices, as their own loops report them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from store.states import DeviceKind, NodeState
from store.tables import Node


@dataclass(frozen=True)
class FoundDevice:
    """A device as the node sees it now."""

    kind: DeviceKind
    index: int
    uuid: str | None = None  # of a GPU
    model: str | None = None
    memory_mb: int | None = None
    weight: float = 1.0
    foreign: dict[str, Any] | None = None  # {"pids": [...], "memory_mb": ...} held by processes of others
    ghost: bool = False  # memory is in use and nobody is there


def register(
    session: Session,
    name: str,
    *,
    boot_id: str,
    storage_id: str,
    cpus: int,
    memory_mb: int,
    devices: Sequence[FoundDevice],
    versions: dict[str, str],
    address: str | None = None,
) -> Node:
    """A worker has started on this machine: its row and those of its devices, made or brought up to date."""
    raise NotImplementedError


def heartbeat(session: Session, node_id: UUID, devices: Sequence[FoundDevice]) -> Node:
    """The node's loop lives (every 5 s); devices that are no longer found become `missing`. Raises NotFound."""
    raise NotImplementedError


def inventory(session: Session) -> list[dict[str, Any]]:
    """All nodes with devices, their live leases and heartbeat ages, as API /nodes shows them."""
    raise NotImplementedError


def one(session: Session, node_id: UUID) -> dict[str, Any]:
    """One of `inventory`. Raises NotFound."""
    raise NotImplementedError


def set_state(session: Session, node_id: UUID, state: NodeState, reason: str = "") -> Node:
    """An operator cordons, drains (asks its attempts to leave) or readies a node. Raises NotFound."""
    raise NotImplementedError
