"""Who runs next and where: priority, then first come, first served; all devices of a job at once.

One leader, one transaction a pass: it starts by locking the leader's row, so two that both believe to lead are
serialized and the older one does nothing. `plan` is the whole policy, over plain values; fair share, reservations
and preemption have their place there.
"""

import json
import time
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from store import attempts, database, leaders, notices
from store.leaders import SCHEDULER, Leadership
from store.settings import settings
from store.states import DeviceKind, DeviceState, JobState, NodeState
from store.tables import JSON, Device, DeviceLease, Job, Node

MOST_PLANNED = 10_000  # queued jobs that one pass looks at


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
    total: int  # devices that could be free one day
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
    """Places for as many as fit, in the order given.

    A job that does not fit now is not overtaken by later ones of its kind: without reservations a wide one
    would wait for ever behind narrow ones. One that backs off, or that no node here could ever hold, keeps
    nobody from the devices.
    """
    offers = {(node.node, node.kind): list(node.free) for node in nodes}
    names = {node.node: node.name for node in nodes}
    placements: list[Placement] = []
    waiting: dict[UUID, Waiting] = {}
    first: dict[DeviceKind, UUID] = {}  # the one that the others of its kind wait for
    behind: dict[DeviceKind, int] = {}
    for job in pending:
        if job.wait_s > 0:
            waiting[job.id] = Waiting("backoff", job.wait_text)
        elif not any(node.kind is job.kind and node.total >= job.devices for node in nodes):
            waiting[job.id] = _infeasible(job, nodes)
        elif job.kind in first:
            behind[job.kind] = behind.get(job.kind, 0) + 1
            waiting[job.id] = Waiting("priority", _queue_text(behind[job.kind], first[job.kind]))
        elif place := _best_fit(job, offers):
            devices = tuple(offers[place, job.kind][: job.devices])
            del offers[place, job.kind][: job.devices]
            placements.append(Placement(job.id, place, devices))
        else:
            first[job.kind] = job.id
            waiting[job.id] = _no_room(job, nodes, offers, names)
    return Plan(placements, waiting)


def _best_fit(job: Pending, offers: dict[tuple[UUID, DeviceKind], list[UUID]]) -> UUID | None:
    """The node with the fewest devices left over."""
    left = [(len(free) - job.devices, str(node), node) for (node, kind), free in offers.items() if kind is job.kind]
    return min((fit for fit in left if fit[0] >= 0), default=(0, "", None))[2]


def _no_room(
    job: Pending, nodes: Sequence[Free], offers: dict[tuple[UUID, DeviceKind], list[UUID]], names: dict[UUID, str]
) -> Waiting:
    kind = job.kind
    most, where = max((len(free), names[node]) for (node, of), free in offers.items() if of is kind)
    text = f"needs {_count(job.devices, kind)} on one node; most free: {most} on {where}"
    foreign = sum(node.foreign for node in nodes if node.kind is kind)
    if foreign and any(len(offers[n.node, kind]) + n.foreign >= job.devices for n in nodes if n.kind is kind):
        holders = ", ".join(n.name for n in nodes if n.kind is kind and n.foreign)
        return Waiting("foreign_process", f"{text}; {_count(foreign, kind)} on {holders} held by processes of others")
    return Waiting("resources", text)


def _infeasible(job: Pending, nodes: Sequence[Free]) -> Waiting:
    most = max((node.total for node in nodes if node.kind is job.kind), default=0)
    here = f"the largest that works now has {most}" if most else "no node with any works now"
    return Waiting("infeasible", f"needs {_count(job.devices, job.kind)} on one node; {here}")


def _queue_text(place: int, first: UUID) -> str:
    # Rounded beyond 20, or each placement would rewrite the text of every job in a long queue.
    limits = [limit for limit in (5000, 2000, 1000, 500, 200, 100, 50, 20) if place > limit]
    count = f"more than {limits[0]} jobs" if limits else f"{place} job{'s' if place > 1 else ''}"
    return f"{count} ahead; next is {first}"


def _count(devices: int, kind: DeviceKind) -> str:
    name = "GPU" if kind is DeviceKind.gpu else "CPU slot"
    return f"{devices} {name}{'s' if devices > 1 else ''}"


def run_pass(holder: str) -> Pass:
    """One pass in one transaction of its own, if `holder` leads: read, plan, place, say why others wait."""
    leadership = database.transact(lambda session: leaders.lead(session, SCHEDULER, holder))
    if leadership is None:
        return Pass(leading=False)
    return database.transact(lambda session: place_all(session, leadership))


def place_all(session: Session, leadership: Leadership) -> Pass:
    """Read, plan, place and say why, under the leader's lock; nothing when its term is over."""
    began = time.perf_counter()
    if not leaders.confirm(session, leadership):
        return Pass(leading=False)
    pending, told = _pending(session)
    found = plan(pending, _free(session))
    placed = sum(_place(session, placement) for placement in found.placements)
    _say(session, found.waiting, told)
    return Pass(True, placed, len(found.waiting), time.perf_counter() - began)


def _pending(session: Session) -> tuple[list[Pending], dict[UUID, JSON | None]]:
    """Queued jobs in order, and what each is told to wait for."""
    left = func.extract("epoch", Job.not_before - func.now())
    columns = (
        Job.id,
        Job.gpus,
        Job.cpu_slots,
        left,
        Job.not_before,
        Job.infra_restarts + Job.user_restarts,
        Job.waiting,
    )
    order = (Job.priority, Job.submitted_at, Job.id)
    rows = session.execute(select(*columns).where(Job.state == JobState.queued).order_by(*order).limit(MOST_PLANNED))
    pending: list[Pending] = []
    told: dict[UUID, JSON | None] = {}
    for job, gpus, slots, wait, until, restarts, waiting in rows:
        when = f"restart {restarts}; next try at {until:%H:%M:%S} UTC" if wait else ""
        kind = DeviceKind.gpu if gpus else DeviceKind.cpu
        pending.append(Pending(job, kind, gpus or slots, max(0.0, float(wait or 0)), when))
        told[job] = waiting
    return pending, told


def _free(session: Session) -> list[Free]:
    """What nodes that are ready and heard of offer now."""
    heard = func.extract("epoch", func.now() - Node.heartbeat_at) < settings().times.suspect
    live = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
    leased = Device.id.in_(live).label("leased")
    query = select(Device.id, Device.kind, Device.foreign, Node.id, Node.name, leased)
    query = query.join(Node, Node.id == Device.node_id)
    query = query.where(Device.state == DeviceState.ok, Node.state == NodeState.ready, heard)
    groups: dict[tuple[UUID, str, DeviceKind], list[tuple[UUID, bool, bool]]] = {}
    for device, kind, foreign, node, name, held in session.execute(
        query.order_by(Node.name, Device.kind, Device.index)
    ):
        groups.setdefault((node, name, kind), []).append((device, held, foreign is not None))
    return [
        Free(
            node=node,
            name=name,
            kind=kind,
            free=tuple(device for device, held, foreign in devices if not held and not foreign),
            total=len(devices),
            foreign=sum(foreign and not held for _, held, foreign in devices),
        )
        for (node, name, kind), devices in groups.items()
    ]


def _place(session: Session, placement: Placement) -> bool:
    devices = session.scalars(select(Device).where(Device.id.in_(placement.devices)).order_by(Device.index)).all()
    return attempts.place(session, placement.job, placement.node, devices) is not None


# In one statement: with a long queue behind it, a placement changes the text of many.
_SAY = text(
    """
    WITH said AS (
        UPDATE jobs SET waiting = CAST(v.waiting AS jsonb), live = live + 1
          FROM unnest(CAST(:jobs AS uuid[]), CAST(:texts AS text[])) AS v (id, waiting)
         WHERE jobs.id = v.id AND jobs.state = 'queued'
     RETURNING jobs.id)
    SELECT pg_notify(:channel, id::text) FROM said
    """
)


def _say(session: Session, waiting: dict[UUID, Waiting], told: dict[UUID, JSON | None]) -> None:
    """Write why jobs wait, where that has changed."""
    new = {job: {"code": why.code, "text": why.text, "expected_start": None} for job, why in waiting.items()}
    changed = [job for job, value in new.items() if told.get(job) != value]
    if changed:
        texts = [json.dumps(new[job]) for job in changed]
        session.execute(_SAY, {"jobs": changed, "texts": texts, "channel": notices.JOBS})
