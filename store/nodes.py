"""Machines and their devices, as their own loops report them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from store import notices, verbs, webhooks
from store.errors import IllegalMove, NotFound
from store.policy import WEIGHTS
from store.settings import settings
from store.states import (
    LIVE_PARTS,
    DeviceKind,
    DeviceState,
    NodeState,
    StopFor,
)
from store.tables import Attempt, Device, DeviceLease, Node, Part


@dataclass(frozen=True)
class FoundDevice:
    """A device as the node sees it now."""

    kind: DeviceKind
    index: int
    uuid: str | None = None  # of a GPU
    model: str | None = None
    memory_mb: int | None = None
    weight: float | None = None  # of its seconds in shares; default: its kind's
    foreign: dict[str, Any] | None = None  # {"pids": [...], "memory_mb": ...} held by processes of others
    health: dict[str, float | None] | None = None  # use (%) and used_mb of a GPU
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
    facts = {
        "boot_id": boot_id,
        "storage_id": storage_id,
        "cpus": cpus,
        "memory_mb": memory_mb,
        "versions": versions,
        "address": address,
        "heartbeat_at": func.now(),
    }
    new = insert(Node).values(name=name, state=NodeState.ready, **facts)
    node_id = session.scalar(new.on_conflict_do_update(index_elements=["name"], set_=facts).returning(Node.id))
    assert node_id is not None
    return heartbeat(session, node_id, devices)


def heartbeat(session: Session, node_id: UUID, devices: Sequence[FoundDevice]) -> Node:
    """The node's loop lives (every 5 s); devices that are no longer found become `missing`. Raises NotFound."""
    seen = update(Node).where(Node.id == node_id).values(heartbeat_at=func.now()).returning(Node)
    node = session.scalar(seen.execution_options(populate_existing=True))
    if node is None:
        raise NotFound(f"no node {node_id}")
    if node.state is NodeState.lost:
        node.state, node.reason = NodeState.ready, None
    there = {
        (device.kind, device.index): device
        for device in session.scalars(select(Device).where(Device.node_id == node_id).order_by(Device.id))
    }
    offered = sum(_update(session, node, there, found) for found in devices)
    found_now = {(found.kind, found.index) for found in devices}
    for place, device in there.items():
        if place not in found_now and device.state is not DeviceState.missing:
            device.state = DeviceState.missing
    session.flush()
    if offered:
        notices.notify(session, notices.QUEUE)
    return node


def _update(session: Session, node: Node, there: dict[Any, Device], found: FoundDevice) -> bool:
    """Bring one device's row up to date; whether it is offered now and was not."""
    device = there.get((found.kind, found.index))
    new = device is None
    if device is None:
        device = Device(node_id=node.id, kind=found.kind, index=found.index, state=DeviceState.missing)
        session.add(device)
    was_offered = device.state is DeviceState.ok and device.foreign is None and not new
    was = device.state
    device.uuid, device.model, device.memory_mb = found.uuid, found.model, found.memory_mb
    device.weight = WEIGHTS[found.kind] if found.weight is None else found.weight
    device.foreign, device.health = found.foreign, found.health
    if found.ghost and device.state is DeviceState.ok:
        device.state = DeviceState.ghost  # stays so until somebody has looked
    elif device.state is DeviceState.missing:
        device.state = DeviceState.ghost if found.ghost else DeviceState.ok
    if device.state is DeviceState.ghost and was is not DeviceState.ghost:
        session.flush()  # gives a new device its id
        webhooks.tell_of_ghost(session, node, device)
    return device.state is DeviceState.ok and device.foreign is None and not was_offered


def put_labels(session: Session, node_id: UUID, labels: dict[str, str]) -> Node:
    """An operator says what a node is, for jobs that ask for it. Raises NotFound."""
    node = _get(session, node_id)
    node.labels = labels
    notices.notify(session, notices.QUEUE)
    session.flush()
    return node


def inventory(session: Session) -> list[dict[str, Any]]:
    """All nodes with devices, their live leases and heartbeat ages, as API /nodes shows them."""
    return [_told(session, node) for node in session.scalars(select(Node).order_by(Node.name)).all()]


def one(session: Session, node_id: UUID) -> dict[str, Any]:
    """One of `inventory`. Raises NotFound."""
    return _told(session, _get(session, node_id))


def set_state(session: Session, node_id: UUID, state: NodeState, reason: str = "") -> Node:
    """An operator cordons, drains (asks its attempts to leave) or readies a node. Raises NotFound."""
    node = _get(session, node_id)
    node.state, node.reason = state, reason or None
    if state is NodeState.ready:
        node.unclaimed = 0
    if state is NodeState.draining:
        live = select(Attempt.job_id).join(Part).where(Part.node_id == node_id, Part.state.in_(LIVE_PARTS))
        for job in session.scalars(live.order_by(Attempt.job_id)).all():
            verbs.vacate(session, job, StopFor.drain, f"{node.name} is drained")
    notices.notify(session, notices.QUEUE)
    session.flush()
    return node


def set_device_state(session: Session, device_id: UUID, state: DeviceState) -> Device:
    """An operator takes one device out, or offers it again (a ghost too, once looked at). Raises NotFound."""
    device = session.get(Device, device_id, populate_existing=True)
    if device is None:
        raise NotFound(f"no device {device_id}")
    if device.state is DeviceState.missing:
        raise IllegalMove("its machine does not find this device", state=str(device.state), allowed=[])
    device.state = state
    notices.notify(session, notices.QUEUE)
    session.flush()
    return device


def silent(silent_s: float) -> ColumnElement[bool]:
    """Ready, and not heard for so long."""
    return and_(Node.state == NodeState.ready, Node.heartbeat_at < func.now() - timedelta(seconds=silent_s))


def mark_lost(session: Session, silent_s: float) -> list[str]:
    """Nodes that have not been heard for so long; their names."""
    lost = session.scalars(
        update(Node).where(silent(silent_s)).values(state=NodeState.lost, reason="no heartbeat").returning(Node)
    ).all()
    for node in lost:
        webhooks.tell_of_node(session, node)
    return [node.name for node in lost]


def _get(session: Session, node_id: UUID) -> Node:
    node = session.get(Node, node_id, populate_existing=True)
    if node is None:
        raise NotFound(f"no node {node_id}")
    return node


def _told(session: Session, node: Node) -> dict[str, Any]:
    plain = ("id", "name", "state", "reason", "cpus", "memory_mb", "address", "versions", "labels", "heartbeat_at")
    age = session.scalar(select(func.extract("epoch", func.now() - Node.heartbeat_at)).where(Node.id == node.id))
    query = (
        select(Device, Attempt.job_id, DeviceLease.owner, DeviceLease.leased_at)
        .outerjoin(DeviceLease, (DeviceLease.gpu_id == Device.id) & DeviceLease.released_at.is_(None))
        .outerjoin(Attempt, Attempt.id == DeviceLease.attempt_id)
        .where(Device.node_id == node.id)
        .order_by(Device.kind.desc(), Device.index)
    )
    shown = ("id", "kind", "index", "uuid", "model", "memory_mb", "state", "foreign", "health")
    heard = float(age or 0)
    return {name: getattr(node, name) for name in plain} | {
        "heartbeat_age_s": heard,
        "suspect": heard > settings().times.suspect,
        "devices": [
            {name: getattr(device, name) for name in shown}
            | {"lease": {"job": job, "owner": owner, "since": since} if job else None}
            for device, job, owner, since in session.execute(query)
        ],
    }
