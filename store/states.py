"""The states of jobs, attempts and parts, and the one table of moves that a job may make (QUEUE 1)."""

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    held = "held"
    blocked = "blocked"  # waits for parents
    queued = "queued"
    scheduled = "scheduled"  # placed, not stepping yet
    running = "running"
    stopping = "stopping"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class AttemptState(StrEnum):
    dispatched = "dispatched"
    starting = "starting"
    running = "running"
    stopping = "stopping"
    exited = "exited"


class PartState(StrEnum):
    dispatched = "dispatched"
    starting = "starting"
    ready = "ready"
    running = "running"
    stopping = "stopping"
    exited = "exited"
    lost = "lost"


class Desired(StrEnum):
    run = "run"
    stop = "stop"


class StopFor(StrEnum):
    """Why an attempt should leave; a stronger reason replaces a weaker one."""

    cancel = "cancel"
    pause = "pause"
    preempt = "preempt"
    drain = "drain"

    def is_stronger_than(self, other: "StopFor | None") -> bool:
        order = list(StopFor)
        return other is None or order.index(self) < order.index(other)


class EdgeKind(StrEnum):
    afterok = "afterok"
    afterany = "afterany"


class NodeState(StrEnum):
    ready = "ready"
    cordoned = "cordoned"
    draining = "draining"
    lost = "lost"


class DeviceKind(StrEnum):
    gpu = "gpu"
    cpu = "cpu"


class DeviceState(StrEnum):
    ok = "ok"
    cordoned = "cordoned"
    ghost = "ghost"  # memory in use though nobody of ours holds it
    missing = "missing"


class CheckpointState(StrEnum):
    ok = "ok"
    bad = "bad"
    deleting = "deleting"
    deleted = "deleted"


class DatasetState(StrEnum):
    ok = "ok"
    archived = "archived"


class Priority(StrEnum):
    """Tiers; an earlier one always goes first. `rank` is what is stored and sorted by."""

    urgent = "urgent"
    high = "high"
    normal = "normal"
    low = "low"

    @property
    def rank(self) -> int:
        return list(Priority).index(self)


_J = JobState
FINAL = frozenset({_J.succeeded, _J.failed, _J.cancelled})
WAITING = frozenset({_J.held, _J.blocked, _J.queued, _J.paused})  # no attempt lives
ACTIVE = frozenset({_J.scheduled, _J.running, _J.stopping})  # an attempt lives

# What may be asked of a job by its state, beside cancel and retry.
VERBS: Mapping[str, frozenset[JobState]] = {
    "pause": frozenset({_J.scheduled, _J.running}),
    "resume": frozenset({_J.paused}),
    "hold": frozenset({_J.queued, _J.blocked}),
    "release": frozenset({_J.held}),
}

# The only table of allowed moves. `store.jobs.move` obeys it, nothing else changes a job's state.
MOVES: Mapping[JobState, frozenset[JobState]] = {
    _J.held: frozenset({_J.queued, _J.blocked, _J.cancelled}),
    _J.blocked: frozenset({_J.queued, _J.held, _J.cancelled}),
    _J.queued: frozenset({_J.scheduled, _J.held, _J.cancelled}),
    _J.scheduled: frozenset({_J.running, _J.stopping, _J.queued, _J.failed, _J.cancelled}),
    _J.running: frozenset({_J.stopping, _J.queued, _J.paused, *FINAL}),
    _J.stopping: frozenset({_J.queued, _J.paused, *FINAL}),
    _J.paused: frozenset({_J.queued, _J.cancelled}),
    **{state: frozenset() for state in FINAL},
}

LIVE_PARTS = (PartState.dispatched, PartState.starting, PartState.ready, PartState.running, PartState.stopping)
HELD_PARTS = (PartState.starting, PartState.ready, PartState.running, PartState.stopping)  # a supervisor may write
