"""One try at running a job. Whoever writes shows its lease; an old one changes nothing.

Locks are always taken in this order: leaders, attempt_parts, attempts, jobs, gpu_leases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from store import ending, ends, fence, inputs, moves, outbox, queue
from store.ends import Reason
from store.errors import AlreadyAdopted, Fenced
from store.fence import Lease, Orders
from store.settings import settings
from store.states import (
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
        .where(*fence.mine(lease), Part.state == PartState.starting, or_(Part.pid.is_(None), me))
        .values(pid=pid, pid_start=pid_start, pid_ns=pid_ns, boot_id=boot_id, heartbeat_at=func.now())
        .returning(Part.node_id, Part.events_offset)
    ).first()
    if adopted is None:
        if fence.is_live(session, lease):
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
        orders=fence.orders(session, lease),
        nodes=session.scalar(select(func.count()).where(Part.attempt_id == lease.attempt)) or 1,
        problem=found.problem,
    )


def ready(session: Session, lease: Lease, rdzv_endpoint: str | None = None) -> bool:
    """This part could start. When it is the last one, go_at is set, attempt and job are running, and it is True.

    `rdzv_endpoint`: part 0's, where the ranks of several machines meet.
    False: others are not ready, or the attempt should stop (see `fence.orders`). Raises Fenced.
    Said again it changes nothing: the answer to a commit may have been lost.
    """
    _lock_parts(session, lease.attempt)  # before the one that is ours: two that are ready together lock in one order
    fence.hold(session, lease, state=PartState.ready, ready_at=func.now())
    attempt = _lock(session, lease.attempt)
    if attempt.go_at is not None:  # back to what it was, or the barrier would seem to wait for this part
        fence.hold(session, lease, state=PartState.running)
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


def stopping(session: Session, lease: Lease) -> None:
    """The supervisor has passed the wish to stop on. Raises Fenced."""
    fence.hold(session, lease, state=PartState.stopping)
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

    Call `fence.beat` and `record` for the last event lines first, in the same transaction. Also used by the node loop
    for a part whose supervisor is gone (supervisor_lost, node_rebooted). Raises Fenced.
    """
    over = update(Part).where(*fence.mine(lease), Part.state.in_(LIVE_PARTS))
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
