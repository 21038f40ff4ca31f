"""One try at running a job. Whoever writes shows its lease; an old one changes nothing.

Locks are always taken in this order: leaders, attempt_parts, attempts, jobs, gpu_leases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from store import ending, ends, inputs, moves, outbox, queue, walltime
from store.ends import Reason
from store.errors import AlreadyAdopted, AlreadyRecorded, Fenced
from store.settings import settings
from store.states import (
    HELD_PARTS,
    LIVE_PARTS,
    AttemptState,
    Desired,
    DeviceKind,
    JobState,
    PartState,
    StopFor,
)
from store.tables import Attempt, Device, DeviceLease, Job, Node, Part

PARTING_S = 15.0  # that the other parts of an attempt have when one is over


class Lease(NamedTuple):
    """What a supervisor shows with every write."""

    attempt: UUID
    epoch: int
    part: int = 0


class Orders(NamedTuple):
    """What is wanted of an attempt."""

    desired: Desired
    stop_for: StopFor | None
    stop_deadline: datetime | None  # the database's clock
    stop_in_s: float | None  # seconds from now to that deadline, by the database's clock; may be negative
    go_at: datetime | None
    left_s: float | None = None  # of the job's walltime, by the database's clock; may be negative
    rdzv_endpoint: str | None = None  # where the ranks of several machines meet


@dataclass(frozen=True)
class LeasedDevice:
    id: UUID
    kind: DeviceKind
    index: int
    uuid: str | None


@dataclass(frozen=True)
class Work:
    """Everything a supervisor needs to know before it starts the core."""

    lease: Lease
    job_id: UUID
    kind: str
    spec: dict[str, Any]  # the stored spec, as is
    node_id: UUID
    devices: tuple[LeasedDevice, ...]
    inputs: dict[str, dict[str, str | None]]  # key of inputs.json -> {path, sha256}
    resume_checkpoint: UUID | None  # behind inputs["resume"]
    grace_s: float
    events_offset: int
    folder: Path  # of this attempt; all its parts share it
    orders: Orders
    nodes: int = 1  # that share the attempt
    problem: str | None = None  # an input is gone: finish with data_error and this as detail


class LivePart(NamedTuple):
    """A part that the database believes to live on a node."""

    lease: Lease
    job_id: UUID
    state: PartState
    pid: int | None
    pid_start: int | None
    pid_ns: int | None
    boot_id: str | None
    events_offset: int
    folder: Path
    dispatched_s: float  # seconds since it was (last) sent
    stop_for: StopFor | None


def place(session: Session, job_id: UUID, parts: Sequence[tuple[UUID, Sequence[Device]]]) -> Lease | None:
    """Give a queued job to its nodes, in one transaction with its messages; None when it is no longer queued.

    `parts`: nodes and their devices. The lease is that of part 0.
    A message is a row too: a relay sends what was committed. Raises IntegrityError when a device is leased.
    """
    job = moves.lock(session, job_id)
    if job.state is not JobState.queued:
        return None
    job.epoch += 1
    parts = _in_order_of_ranks(session, parts)
    names = [f"{device.kind}-{device.index}" for _, devices in parts for device in devices]
    more: dict[str, Any] = {"node": str(parts[0][0]), "devices": names} if parts else {}
    if len(parts) > 1:
        more["nodes"] = [str(node) for node, _ in parts]
    moves.move(session, job, JobState.scheduled, "scheduler", more=more)
    attempt = Attempt(job_id=job.id, epoch=job.epoch)
    session.add(attempt)
    session.flush()
    for part, (node, devices) in enumerate(parts):
        session.add(Part(attempt_id=attempt.id, part=part, epoch=job.epoch, node_id=node))
        session.add_all(
            DeviceLease(
                gpu_id=device.id,
                attempt_id=attempt.id,
                part=part,
                epoch=job.epoch,
                owner=job.owner,
                project=job.project,
                weight=device.weight,
                # Not now(), when the pass began: by then the last holder may not have given the device back.
                leased_at=func.clock_timestamp(),
            )
            for device in devices
        )
        outbox.add(session, queue.node_queue(node), {"attempt_id": str(attempt.id), "epoch": job.epoch})
    session.flush()
    return Lease(attempt.id, job.epoch)


def _in_order_of_ranks(
    session: Session, parts: Sequence[tuple[UUID, Sequence[Device]]]
) -> Sequence[tuple[UUID, Sequence[Device]]]:
    """torchrun gives ranks in the order of addresses as text: so rank 0, which writes, is on part 0, which reads."""
    if len(parts) < 2:
        return parts
    addresses = {node: session.get_one(Node, node).address or "" for node, _ in parts}
    return sorted(parts, key=lambda part: (addresses[part[0]], part[0]))


def claim(session: Session, attempt: UUID, epoch: int, node_id: UUID) -> Lease | None:
    """Take what was placed on this node; None when another delivery came first or it is over. Worker and node loop."""
    mine = (Part.attempt_id == attempt, Part.epoch == epoch, Part.node_id == node_id)
    part = session.scalar(
        update(Part)
        .where(*mine, Part.state == PartState.dispatched)
        .values(state=PartState.starting, claimed_at=func.now(), heartbeat_at=func.now())
        .returning(Part.part)
    )
    if part is None:
        return None
    begun = update(Attempt).where(Attempt.id == attempt, Attempt.state == AttemptState.dispatched)
    session.execute(begun.values(state=AttemptState.starting))
    session.execute(update(Node).where(Node.id == node_id, Node.unclaimed > 0).values(unclaimed=0))
    return Lease(attempt, epoch, part)


def adopt(session: Session, lease: Lease, pid: int, pid_start: int, pid_ns: int, boot_id: str) -> Work:
    """Become the supervisor of a claimed part. Raises AlreadyAdopted when there is another, Fenced when it is over.

    Said again by the same process it is the same: the answer to a commit may have been lost.
    """
    me = and_(Part.pid == pid, Part.pid_start == pid_start, Part.pid_ns == pid_ns, Part.boot_id == boot_id)
    adopted = session.execute(
        update(Part)
        .where(*_mine(lease), Part.state == PartState.starting, or_(Part.pid.is_(None), me))
        .values(pid=pid, pid_start=pid_start, pid_ns=pid_ns, boot_id=boot_id, heartbeat_at=func.now())
        .returning(Part.node_id, Part.events_offset)
    ).first()
    if adopted is None:
        if is_live(session, lease):
            raise AlreadyAdopted
        raise Fenced
    attempt = _lock(session, lease.attempt)
    job = session.get_one(Job, attempt.job_id, populate_existing=True)
    found = inputs.resolve(session, job)
    attempt.inputs, attempt.resume_step = found.kept, found.resume_step
    return Work(
        lease=lease,
        job_id=job.id,
        kind=job.kind,
        spec=job.spec,
        node_id=adopted.node_id,
        devices=_devices(session, lease),
        inputs=found.files,
        resume_checkpoint=found.resume_checkpoint,
        grace_s=job.grace_s,
        events_offset=adopted.events_offset,
        folder=settings().attempt_folder(job.id, lease.epoch),
        orders=orders(session, lease),
        nodes=session.scalar(select(func.count()).where(Part.attempt_id == lease.attempt)) or 1,
        problem=found.problem,
    )


def ready(session: Session, lease: Lease, rdzv_endpoint: str | None = None) -> bool:
    """This part could start. When it is the last one, go_at is set, attempt and job are running, and it is True.

    `rdzv_endpoint`: part 0's, where the ranks of several machines meet.
    False: others are not ready, or the attempt should stop (see `orders`). Raises Fenced.
    Said again it changes nothing: the answer to a commit may have been lost.
    """
    _lock_parts(session, lease.attempt)  # before the one that is ours: two that are ready together lock in one order
    hold(session, lease, state=PartState.ready, ready_at=func.now())
    attempt = _lock(session, lease.attempt)
    if attempt.go_at is not None:  # back to what it was, or the barrier would seem to wait for this part
        hold(session, lease, state=PartState.running)
        return True
    attempt.rdzv_endpoint = rdzv_endpoint or attempt.rdzv_endpoint
    states = session.scalars(select(Part.state).where(Part.attempt_id == attempt.id)).all()
    if attempt.desired is Desired.stop or any(state is not PartState.ready for state in states):
        return False
    attempt.go_at = attempt.running_at = func.now()
    attempt.state = AttemptState.running
    session.execute(update(Part).where(Part.attempt_id == attempt.id).values(state=PartState.running))
    job = moves.lock(session, attempt.job_id)
    if job.state is JobState.scheduled:
        job.rejections = 0
        moves.move(session, job, JobState.running, "supervisor")
    session.flush()
    return True


def beat(session: Session, lease: Lease, old_offset: int, new_offset: int) -> Orders:
    """The fence: first in every transaction of a supervisor. It takes the row's lock, or raises.

    The offset in the same statement makes the ingest of events exactly once. Guard and write are on the same
    row: a state tested on a joined row was seen too late. Raises AlreadyRecorded(offset) when an earlier commit
    had arrived after all, Fenced when it is over.
    """
    row = session.execute(_BEAT, _shown(lease) | {"old_offset": old_offset, "new_offset": new_offset}).first()
    if row is None:
        there = session.execute(select(Part.events_offset).where(*_mine(lease), Part.state.in_(HELD_PARTS))).first()
        if there is None or there.events_offset == old_offset:
            raise Fenced
        raise AlreadyRecorded(there.events_offset)
    return _orders(row)


def hold(session: Session, lease: Lease, **values: Any) -> None:
    """The fence for other writes: takes the part's row and sets `values` on it. Raises Fenced."""
    mine = update(Part).where(*_mine(lease), Part.state.in_(HELD_PARTS))
    if session.scalar(mine.values(heartbeat_at=func.now(), **values).returning(Part.part)) is None:
        raise Fenced


def orders(session: Session, lease: Lease) -> Orders:
    """What is wanted now, without writing (every 2 s). Raises Fenced when the part is over."""
    row = session.execute(_ASK, _shown(lease)).first()
    if row is None:
        raise Fenced
    return _orders(row)


def stopping(session: Session, lease: Lease) -> None:
    """The supervisor has passed the wish to stop on. Raises Fenced."""
    hold(session, lease, state=PartState.stopping)
    going = update(Attempt).where(Attempt.id == lease.attempt, Attempt.state != AttemptState.exited)
    session.execute(going.values(state=AttemptState.stopping))


def finish(
    session: Session,
    lease: Lease,
    reason: Reason,
    exit_code: int | None = None,
    detail: str = "",
    hint: str = "",
    log_tail: str = "",
) -> Job:
    """This part is over and its devices were seen empty: leases end, and the job goes where QUEUE 8 says.

    Call `beat` and `record` for the last event lines first, in the same transaction. Also used by the node loop
    for a part whose supervisor is gone (supervisor_lost, node_rebooted). Raises Fenced.
    """
    over = update(Part).where(*_mine(lease), Part.state.in_(LIVE_PARTS))
    over = over.values(state=PartState.exited, exit_code=exit_code, heartbeat_at=func.now())
    if session.scalar(over.returning(Part.part)) is None:
        raise Fenced
    attempt = _lock(session, lease.attempt)
    # One part over means all stop; the first one's reason is the attempt's, unless another one knows better.
    end = ending.Ending(reason, detail, hint)
    if attempt.reason and not ends.tells_more(reason, than=Reason(attempt.reason)):
        end = ending.Ending(Reason(attempt.reason), attempt.detail or "", attempt.hint or "")
    _forget_unclaimed(session, attempt.id)
    others = select(func.count()).where(Part.attempt_id == attempt.id, Part.state.in_(LIVE_PARTS))
    if session.scalar(others):
        attempt.reason, attempt.detail, attempt.hint = end.reason, end.detail or None, end.hint or None
        attempt.desired = Desired.stop
        # Nothing is left to save together; what also comes to its end has a moment for it.
        soon = func.now() + timedelta(seconds=settings().times.scaled(PARTING_S))
        attempt.stop_deadline = func.least(func.coalesce(attempt.stop_deadline, soon), soon)
        ending.release_devices(session, lease.attempt, DeviceLease.part == lease.part)
        return session.get_one(Job, attempt.job_id)
    return ending.end(session, attempt, end, exit_code=exit_code, log_tail=log_tail, release=True)


def _forget_unclaimed(session: Session, attempt: UUID) -> None:
    """Parts that no machine has taken up need no supervisor to end; one that is being claimed now will be told."""
    waiting = select(Part).where(Part.attempt_id == attempt, Part.state == PartState.dispatched)
    for part in session.scalars(waiting.with_for_update(skip_locked=True).execution_options(populate_existing=True)):
        part.state = PartState.exited
    session.flush()


def give_up(
    session: Session,
    attempt: UUID,
    reason: Reason,
    *,
    release: bool,
    detail: str = "",
    only_if: ColumnElement[bool] | None = None,
) -> bool:
    """The reconciler's: end an attempt whose supervisor is silent; False when it has ended meanwhile.

    `only_if` must hold for a live part, tested under the lock of the rows that are written. `release=False`
    keeps the devices leased until the node's own loop has killed what is left (`release`).
    """
    rows = select(Part).where(Part.attempt_id == attempt, Part.state.in_(LIVE_PARTS)).order_by(Part.part)
    parts = session.scalars(rows.with_for_update().execution_options(populate_existing=True)).all()
    if not parts:
        return False
    if only_if is not None:
        still = select(Part.part).where(Part.attempt_id == attempt, Part.state.in_(LIVE_PARTS), only_if)
        if session.scalars(still).first() is None:
            return False
    for part in parts:
        part.state = PartState.lost
    session.flush()
    end = ending.Ending(reason, detail, "")
    ending.end(session, _lock(session, attempt), end, exit_code=None, log_tail="", release=release)
    return True


def release(session: Session, attempt: UUID, node_id: UUID) -> int:
    """End the leases on a node of an attempt that is over, once its processes there are gone; how many there were."""
    over = select(Attempt.id).where(Attempt.id == attempt, Attempt.state == AttemptState.exited)
    on_node = select(Device.id).where(Device.node_id == node_id)
    return ending.release_devices(session, attempt, DeviceLease.gpu_id.in_(on_node)) if session.scalar(over) else 0


def leftover(session: Session, node_id: UUID) -> list[UUID]:
    """Attempts that are over while their devices on this node are still leased: kill their marks, then `release`."""
    return list(session.scalars(_LEFTOVER, {"node": node_id}))


def live_parts(session: Session, node_id: UUID) -> list[LivePart]:
    """All parts on this node that are not over, also those `dispatched` for which no message came."""
    rows = session.execute(_LIVE_PARTS, {"node": node_id}).all()
    return [
        LivePart(
            lease=Lease(part.attempt_id, part.epoch, part.part),
            job_id=job_id,
            state=part.state,
            pid=part.pid,
            pid_start=part.pid_start,
            pid_ns=part.pid_ns,
            boot_id=part.boot_id,
            events_offset=part.events_offset,
            folder=settings().attempt_folder(job_id, part.epoch),
            dispatched_s=float(seconds),
            stop_for=stop_for,
        )
        for part, job_id, stop_for, seconds in rows
    ]


def is_live(session: Session, lease: Lease) -> bool:
    """Whether this part is not over: a process marked with another must go."""
    return session.scalar(select(Part.part).where(*_mine(lease), Part.state.in_(LIVE_PARTS))) is not None


def of_job(session: Session, job_id: UUID) -> list[dict[str, Any]]:
    """Every try, oldest first: state, node, devices, times, reason, exit code, inputs, versions."""
    tried = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch)
    return [_told(session, attempt) for attempt in session.scalars(tried).all()]


def newest(session: Session, job_id: UUID) -> Attempt | None:
    """The latest attempt of a job, live or not."""
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch.desc()).limit(1)
    return session.scalars(query).first()


def parts_of(session: Session, job_id: UUID, epoch: int) -> int:
    """How many machines an attempt has, or had; 0 when there is no such attempt."""
    query = select(func.count()).select_from(Part).join(Attempt, Attempt.id == Part.attempt_id)
    return session.scalar(query.where(Attempt.job_id == job_id, Attempt.epoch == epoch)) or 0


def _told(session: Session, attempt: Attempt) -> dict[str, Any]:
    plain = ("id", "epoch", "state", "reason", "detail", "hint", "exit_code", "desired", "stop_for", "resume_step")
    times = ("progress", "versions", "world_size", "replacements", "inputs", "created_at", "running_at", "exited_at")
    parts = select(Part, Node.name).join(Node, Node.id == Part.node_id).where(Part.attempt_id == attempt.id)
    leased = select(Device).join(DeviceLease, DeviceLease.gpu_id == Device.id)
    leased = leased.where(DeviceLease.attempt_id == attempt.id).order_by(Device.node_id, Device.index)
    return {name: getattr(attempt, name) for name in (*plain, *times)} | {
        "parts": [
            {"part": part.part, "node": node, "state": part.state, "heartbeat_at": part.heartbeat_at, "pid": part.pid}
            for part, node in session.execute(parts.order_by(Part.part))
        ],
        "devices": [
            {"id": device.id, "kind": device.kind, "index": device.index, "model": device.model}
            for device in session.scalars(leased)
        ],
    }


_ORDERS = (
    Attempt.desired,
    Attempt.stop_for,
    Attempt.stop_deadline,
    func.extract("epoch", Attempt.stop_deadline - func.now()).label("stop_in_s"),
    Attempt.go_at,
    Attempt.rdzv_endpoint,
    walltime.left().label("left_s"),
)

# Put together once: that takes longer than to ask, and each supervisor and each machine asks every few seconds.
_SHOWN = (
    Part.attempt_id == bindparam("of_attempt"),
    Part.part == bindparam("of_part"),
    Part.epoch == bindparam("of_epoch"),
    Part.state.in_(HELD_PARTS),
    Attempt.id == Part.attempt_id,
    Job.id == Attempt.job_id,
)
_ASK = select(*_ORDERS).where(*_SHOWN)
_BEAT = (
    update(Part)
    .where(*_SHOWN, Part.events_offset == bindparam("old_offset"))
    .values(heartbeat_at=func.now(), events_offset=bindparam("new_offset"))
    .returning(*_ORDERS)
    .execution_options(synchronize_session=False)
)

_LIVE_PARTS = (
    select(Part, Attempt.job_id, Attempt.stop_for, func.extract("epoch", func.now() - Part.dispatched_at))
    .join(Attempt, Attempt.id == Part.attempt_id)
    .where(Part.node_id == bindparam("node"), Part.state.in_(LIVE_PARTS))
)
_LEFTOVER = (
    select(DeviceLease.attempt_id)
    .distinct()
    .join(Device, Device.id == DeviceLease.gpu_id)
    .join(Attempt, Attempt.id == DeviceLease.attempt_id)
    .where(Device.node_id == bindparam("node"), DeviceLease.released_at.is_(None))
    .where(Attempt.state == AttemptState.exited)
)


def _shown(lease: Lease) -> dict[str, Any]:
    return {"of_attempt": lease.attempt, "of_part": lease.part, "of_epoch": lease.epoch}


_Orders = Row[Desired, StopFor | None, datetime | None, Any, datetime | None, str | None, float | None]


def _orders(row: _Orders) -> Orders:
    stop_in_s = None if row.stop_in_s is None else float(row.stop_in_s)
    wanted = (row.desired, row.stop_for, row.stop_deadline, stop_in_s, row.go_at)
    return Orders(*wanted, left_s=row.left_s, rdzv_endpoint=row.rdzv_endpoint)


def _mine(lease: Lease) -> tuple[Any, ...]:
    return (Part.attempt_id == lease.attempt, Part.part == lease.part, Part.epoch == lease.epoch)


def _lock_parts(session: Session, attempt: UUID) -> None:
    """In one order everywhere: two transactions never wait for each other."""
    session.execute(select(Part.part).where(Part.attempt_id == attempt).order_by(Part.part).with_for_update())


def _lock(session: Session, attempt: UUID) -> Attempt:
    return session.get_one(Attempt, attempt, with_for_update={"key_share": True}, populate_existing=True)


def _devices(session: Session, lease: Lease) -> tuple[LeasedDevice, ...]:
    query = select(Device).join(DeviceLease, DeviceLease.gpu_id == Device.id)
    mine = query.where(DeviceLease.attempt_id == lease.attempt, DeviceLease.part == lease.part)
    rows = session.scalars(mine.where(DeviceLease.released_at.is_(None)).order_by(Device.index))
    return tuple(LeasedDevice(device.id, device.kind, device.index, device.uuid) for device in rows)
