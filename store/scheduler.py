"""A pass over the queue: read, plan by the policy, place, and say why others wait.

One leader, one transaction a pass: it starts by locking the leader's row, so two that both believe to lead are
serialized and the older one does nothing.
"""

import gc
import heapq
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from store import attempts, capacity, database, leaders, line, notices, verbs
from store.facts import Facts
from store.leaders import SCHEDULER, Leadership
from store.line import Queued
from store.policy import Free, Placement, Plan, Waiting, plan
from store.settings import settings
from store.states import DeviceKind, DeviceState, NodeState, StopFor
from store.tables import JSON, Device, DeviceLease, Node

log = logging.getLogger(__name__)

# Whose reason to wait is written anew in a pass: of the first in line, and of those behind.
MOST_TOLD, FEW_TOLD = 50, 25


class Pass(NamedTuple):
    """What one pass did."""

    leading: bool
    placed: int = 0
    waiting: int = 0
    seconds: float = 0.0


def run_pass(holder: str) -> Pass:
    """One pass in one transaction of its own, if `holder` leads: read, plan, place, say why others wait."""
    leadership, waits = database.transact(lambda session: _lead(session, holder))
    if leadership is None or not waits:
        return Pass(leading=leadership is not None)
    with _without_collection():
        return database.transact(lambda session: place_all(session, leadership))


def _lead(session: Session, holder: str) -> tuple[Leadership | None, bool]:
    """The lead, and whether anybody waits. Where nobody does, that was the pass."""
    leadership = leaders.lead(session, SCHEDULER, holder)
    waits = leadership is not None and not line.is_empty(session)
    if leadership is not None and not waits:
        leaders.took(session, leadership, 0.0)
    return leadership, waits


@contextmanager
def _without_collection() -> Iterator[None]:
    """A pass makes tens of thousands of tuples, none in a cycle: looking for cycles doubled its time now and then."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def place_all(session: Session, leadership: Leadership) -> Pass:
    """Read, plan, place and say why, under the leader's lock; nothing when its term is over."""
    began = time.perf_counter()
    if not leaders.confirm(session, leadership):
        return Pass(leading=False)
    placed, waiting = _place_and_tell(session)
    seconds = time.perf_counter() - began
    leaders.took(session, leadership, seconds)
    return Pass(True, placed, waiting, seconds)


def _place_and_tell(session: Session) -> tuple[int, int]:
    """How many were placed, and how many wait."""
    queued = line.queued(session)
    found = look(session, queued)
    for victim, beneficiary in found.victims.items():  # before placing: parts are locked before jobs
        verbs.vacate(session, victim, StopFor.preempt, f"for job {beneficiary}")
    placed = sum(_place(session, placement) for placement in found.placements)
    _say(session, found.waiting, queued.facts)
    return placed, len(found.waiting)


def look(session: Session, queued: Queued) -> Plan:
    """The plan for what is queued, on what is free now."""
    running = line.running(session) if queued.pending else []
    return plan(queued.pending, free(session), running, queued.usage, queued.now, queued.limits, line.patience())


def free(session: Session) -> list[Free]:
    """What nodes that are ready and heard of offer now."""
    heard = func.extract("epoch", func.now() - Node.heartbeat_at) < settings().times.suspect
    live = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
    leased, foreign = Device.id.in_(live).label("leased"), Device.foreign.is_not(None).label("foreign")
    query = select(Node, Device.kind, Device.id, Device.model, leased, foreign).join(Node, Node.id == Device.node_id)
    query = query.where(Device.state == DeviceState.ok, Node.state == NodeState.ready, heard)
    groups: dict[tuple[Node, DeviceKind], list[Any]] = {}
    for node, kind, *device in session.execute(query.order_by(Node.name, Device.kind, Device.index)):
        groups.setdefault((node, kind), []).append(device)
    return [
        Free(
            node=node.id,
            name=node.name,
            kind=kind,
            free=tuple(device for device, _, held, others in devices if not held and not others),
            total=len(devices),
            foreign=sum(others and not held for _, _, held, others in devices),
            model=capacity.model_of(model for _, model, _, _ in devices),
            storage=node.storage_id or "",
            labels=node.labels,
        )
        for (node, kind), devices in groups.items()
    ]


def _place(session: Session, placement: Placement) -> bool:
    parts = []
    for spot in placement.spots:
        devices = select(Device).where(Device.id.in_(spot.devices)).order_by(Device.index)
        parts.append((spot.node, session.scalars(devices).all()))
    try:
        with session.begin_nested():
            return attempts.place(session, placement.job, parts) is not None
    except IntegrityError:  # its rows contradict each other: a mistake of ours, and no reason for others to wait
        log.exception("not placed", extra={"data": {"job": placement.job}})
        return False


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


def _say(session: Session, waiting: Mapping[UUID, Waiting], facts: Mapping[UUID, Facts]) -> None:
    """Write why jobs wait, where that has changed and it is their turn."""
    jobs = _to_tell(waiting, facts)
    if jobs:
        texts = [json.dumps(_told(waiting[job])) for job in jobs]
        session.execute(_SAY, {"jobs": jobs, "texts": texts, "channel": notices.JOBS})


def _to_tell(waiting: Mapping[UUID, Waiting], facts: Mapping[UUID, Facts]) -> list[UUID]:
    """Whose reason has changed: of many the first in line, those without a word, and some whose word is the oldest.

    Who starts changes what all behind it wait for, and to write that for 10,000 takes longer than all else in a pass.
    """
    changed = [one for job, why in waiting.items() if (one := facts[job]).told != why]
    first, others = changed[:MOST_TOLD], changed[MOST_TOLD:]
    silent = [one for one in others if one.told is None]
    oldest = heapq.nsmallest(FEW_TOLD, (one for one in others if one.told is not None), key=lambda one: one.written)
    return [one.pending.id for one in (*first, *silent, *oldest)]


def _told(why: Waiting) -> JSON:
    return {"code": why.code, "text": why.text, "expected_start": why.start.isoformat() if why.start else None}
