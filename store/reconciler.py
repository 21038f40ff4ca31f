"""What was lost is found: each repair is a guarded transaction of its own, safe to run twice (QUEUE 5)."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Float, Select, and_, cast, delete, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from store import (
    attempts,
    checkpoints,
    database,
    deliveries,
    experiments,
    idempotency,
    leaders,
    moves,
    nodes,
    outbox,
    queue,
    walltime,
)
from store.ends import Reason
from store.leaders import RECONCILER, Leadership
from store.settings import LeaseTimes, settings
from store.states import FINAL, HELD_PARTS, AttemptState, EdgeKind, JobState, NodeState, PartState
from store.tables import Attempt, Device, DeviceLease, IdempotencyKey, Job, JobEdge, Node, Outbox, Part

UNCLAIMED_S = 30.0  # then the message is sent again
MOST_SENDS = 3  # then the job goes back to the queue
CORDON_AFTER = 3  # jobs in a row that a node did not take up
NO_PID_S = 30.0  # for a supervisor to come up; twice as long after each launch that was refused for it
MOST_DOUBLED = 3  # times
BARRIER_S = 60.0
OVERDUE_S = 60.0  # beyond the deadline of a stop
OUTBOX_KEPT = timedelta(days=7)
MOST_AT_ONCE = 200


class Repair(NamedTuple):
    """Something that may be lost, how that is seen, and what is done about it."""

    name: str
    due: Callable[[], Select[*tuple[Any, ...]]]  # has a row when there is something to do
    act: Callable[[Session], int]  # how often
    accuses: bool = False  # of silence: not while the leader itself was away


class Repairs(NamedTuple):
    """What one pass did: name of the repair -> how often."""

    leading: bool
    done: dict[str, int]


class Look(NamedTuple):
    """Who leads, and what there is to repair."""

    leadership: Leadership
    due: frozenset[str]


def run_pass(holder: str) -> Repairs:
    """One pass, if `holder` leads: a look, then each repair that is due in a transaction of its own."""
    look = database.transact(lambda session: _look(session, holder))
    if look is None:
        return Repairs(False, {})
    done: dict[str, int] = {}
    for repair in REPAIRS:
        # What one repair has done may be the next one's to go on with.
        wanted = repair.name in look.due or any(done.values())
        if wanted and not (repair.accuses and look.leadership.quiet):
            done[repair.name] = database.transact(_guarded(look.leadership, repair))
    if "checkpoints" in look.due or any(done.values()):
        done["checkpoints"] = remove_old_checkpoints()
    return Repairs(True, {name: count for name, count in done.items() if count})


def _look(session: Session, holder: str) -> Look | None:
    """All questions in one statement: nearly always the answer to each is no."""
    leadership = leaders.lead(session, RECONCILER, holder)
    if leadership is None:
        return None
    row = session.execute(_questions(settings().times)).one()
    return Look(leadership, frozenset(name for name, due in row._mapping.items() if due))


@cache
def _questions(times: LeaseTimes) -> Select[*tuple[bool, ...]]:
    """Whether each repair is due, under these times. Made once: to put it together takes longer than to ask it."""
    due = {repair.name: repair.due() for repair in REPAIRS} | {"checkpoints": checkpoints.expiring()}
    return select(*(query.exists().label(name) for name, query in due.items()))


def _guarded(leadership: Leadership, repair: Repair) -> Callable[[Session], int]:
    return lambda session: repair.act(session) if leaders.confirm(session, leadership) else 0


def _silent() -> ColumnElement[bool]:
    return and_(Part.state.in_(HELD_PARTS), Part.heartbeat_at < _ago(settings().times.lost))


def give_up_silent(session: Session) -> int:
    """Attempts whose supervisor has been silent for `lost`: it has fenced itself by now, or is gone."""
    detail = f"Its supervisor was not heard for {settings().times.lost:g} s."
    return _give_up(session, _silent(), Reason.worker_lost, detail)


def lose_nodes(session: Session) -> int:
    """Nodes that are silent get nothing placed on them."""
    return len(nodes.mark_lost(session, settings().times.lost))


def _overdue() -> ColumnElement[bool]:
    late = settings().times.scaled(OVERDUE_S)
    stopped = select(Attempt.id).join(Job, Job.id == Attempt.job_id)
    stopped = stopped.where(or_(Attempt.stop_deadline < _ago(late), walltime.left() < -late))
    stopped = stopped.where(Attempt.state != AttemptState.exited)
    return and_(Part.state.in_(HELD_PARTS), Part.attempt_id.in_(stopped))


def end_overdue(session: Session) -> int:
    """Asked to stop or past its walltime, a minute ago, and still there: the supervisor failed to."""
    return _give_up(session, _overdue(), Reason.supervisor_lost, "It did not end when asked to.")


def _kept_by_the_dead() -> Select[UUID, UUID]:
    silent = Node.heartbeat_at < _ago(settings().times.lost)
    held = select(DeviceLease.attempt_id, Node.id).distinct().join(Device, Device.id == DeviceLease.gpu_id)
    held = held.join(Node, Node.id == Device.node_id).where(DeviceLease.released_at.is_(None), silent)
    return held.limit(MOST_AT_ONCE)


def release_with_dead_nodes(session: Session) -> int:
    """Devices of a machine that is gone for good are not kept by attempts that are over."""
    found = session.execute(_kept_by_the_dead()).all()
    return sum(attempts.release(session, attempt, node) for attempt, node in found)


def _unclaimed() -> Select[Part]:
    wait = settings().times.scaled(UNCLAIMED_S)
    return select(Part).where(Part.state == PartState.dispatched, Part.dispatched_at < _ago(wait))


def resend_unclaimed(session: Session) -> int:
    """Placed and not taken up: the message again, and after three the job goes back to the queue."""
    waiting = _unclaimed().order_by(Part.attempt_id).limit(MOST_AT_ONCE).with_for_update(skip_locked=True)
    parts = session.scalars(waiting.execution_options(populate_existing=True)).all()
    for part in parts:
        if part.state is not PartState.dispatched:
            continue  # given up with another part of its attempt
        if part.sends < MOST_SENDS:
            part.sends += 1
            part.dispatched_at = func.now()
            payload = {"attempt_id": str(part.attempt_id), "epoch": part.epoch}
            outbox.add(session, queue.node_queue(part.node_id), payload)
        else:
            _note(session, part.node_id)
            detail = f"Nobody took it up after {part.sends} messages."
            attempts.give_up(session, part.attempt_id, Reason.launch_rejected, release=True, detail=detail)
    return len(parts)


def _note(session: Session, node_id: UUID) -> None:
    """A node that takes nothing up is cordoned at the third job in a row."""
    node = session.get_one(Node, node_id, with_for_update=True, populate_existing=True)
    node.unclaimed += 1
    if node.unclaimed >= CORDON_AFTER and node.state is NodeState.ready:
        node.state, node.reason = NodeState.cordoned, f"{node.unclaimed} jobs in a row were not taken up"


def _unstarted() -> ColumnElement[bool]:
    # On a machine that is too busy to start one in time, trying again as hastily would only add to what it has to do.
    refused = select(Job.rejections).join(Attempt, Attempt.job_id == Job.id)
    refused = refused.where(Attempt.id == Part.attempt_id).correlate(Part)
    longer = func.power(2, func.least(refused.scalar_subquery(), MOST_DOUBLED))
    waited = cast(func.extract("epoch", func.now() - Part.claimed_at), Float)
    late = waited > settings().times.scaled(NO_PID_S) * longer
    return and_(Part.state == PartState.starting, Part.pid.is_(None), late)


def reject_unstarted(session: Session) -> int:
    """Claimed, but no supervisor has said its pid: it never came up."""
    return _give_up(session, _unstarted(), Reason.launch_rejected, "Its supervisor did not come up.")


def _unready() -> ColumnElement[bool]:
    return and_(Part.state == PartState.ready, Part.ready_at < _ago(settings().times.scaled(BARRIER_S)))


def release_unready(session: Session) -> int:
    """A barrier that not all parts reach in time lets all of them go."""
    late = _unready()
    waiting = select(Part.attempt_id).where(late)
    absent = select(Part.node_id).where(Part.attempt_id.in_(waiting), Part.state == PartState.dispatched)
    nodes_absent = session.scalars(absent.order_by(Part.node_id)).all()
    released = _give_up(session, late, Reason.gang_timeout, "Not all machines were ready in time.")
    for node in nodes_absent if released else ():
        _note(session, node)
    return released


def _stuck() -> Select[UUID]:
    parent = aliased(Job)
    edges = select(JobEdge.child).join(parent, parent.id == JobEdge.parent).where(JobEdge.child == Job.id)
    unfinished = edges.where(parent.state.not_in(FINAL)).exists()
    hopeless = and_(JobEdge.kind == EdgeKind.afterok, parent.state.in_(FINAL - {JobState.succeeded}))
    return select(Job.id).where(Job.state == JobState.blocked, or_(~unfinished, edges.where(hopeless).exists()))


def settle_children(session: Session) -> int:
    """Blocked jobs whose parents allow a decision, should it have been missed."""
    children = session.scalars(_stuck().order_by(Job.id).limit(MOST_AT_ONCE)).all()
    for child in children:
        moves.settle(session, moves.lock(session, child))
    return len(children)


def _old_messages() -> ColumnElement[bool]:
    return and_(Outbox.kind == "launch", Outbox.sent_at < func.now() - OUTBOX_KEPT)


def _untidy() -> Select[Any]:
    messages = select(Outbox.id).where(or_(_old_messages(), deliveries.old()))
    keys = select(IdempotencyKey.key).where(idempotency.expired())
    return select(literal(1)).where(or_(messages.exists(), keys.exists()))


def tidy(session: Session) -> int:
    """Messages sent a week ago, deliveries of a month ago, and idempotency keys past their day."""
    old = delete(Outbox).where(_old_messages())
    messages = len(session.scalars(old.returning(Outbox.id)).all())
    return messages + deliveries.forget_old(session) + idempotency.forget_expired(session)


def remove_old_checkpoints() -> int:
    """Mark row, remove folder, mark done: a crash between two of them leaves nothing unknown."""
    due = database.transact(checkpoints.expire)
    for checkpoint, folder in due:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            database.transact(partial(checkpoints.deleted, checkpoint_id=checkpoint))
    return len(due)


def _give_up(session: Session, lost: ColumnElement[bool], reason: Reason, detail: str) -> int:
    """End the attempts with a part of this kind; each is looked at again under its lock.

    A node that lives kills what is left before its devices are free; a silent one cannot be asked.
    """
    ended = 0
    for attempt in session.scalars(_attempts(lost).order_by(Attempt.id).limit(MOST_AT_ONCE)).all():
        release = not _node_is_heard(session, attempt)
        ended += attempts.give_up(session, attempt, reason, release=release, detail=detail, only_if=lost)
    return ended


def _attempts(lost: ColumnElement[bool]) -> Select[UUID]:
    """Those that live with a part of this kind."""
    query = select(Attempt.id).distinct().join(Part, Part.attempt_id == Attempt.id)
    return query.where(Attempt.state != AttemptState.exited, lost)


def _ago(seconds: float) -> ColumnElement[datetime]:
    return func.now() - timedelta(seconds=seconds)


def _node_is_heard(session: Session, attempt: UUID) -> bool:
    heard = select(Node.id).join(Part, Part.node_id == Node.id)
    fresh = Node.heartbeat_at >= _ago(settings().times.suspect)
    return session.scalar(heard.where(Part.attempt_id == attempt, fresh).limit(1)) is not None


# In this order: what is lost first, what waits for it last.
REPAIRS = (
    Repair("lost", lambda: _attempts(_silent()), give_up_silent, accuses=True),
    Repair("nodes_lost", lambda: select(Node.id).where(nodes.silent(settings().times.lost)), lose_nodes, accuses=True),
    Repair("overdue", lambda: _attempts(_overdue()), end_overdue, accuses=True),
    Repair("resent", _unclaimed, resend_unclaimed),
    Repair("rejected", lambda: _attempts(_unstarted()), reject_unstarted),
    Repair("gang_timeout", lambda: _attempts(_unready()), release_unready),
    Repair("released", _kept_by_the_dead, release_with_dead_nodes),
    Repair("settled", _stuck, settle_children),
    Repair("finished", experiments.ended, experiments.finish),
    Repair("tidied", _untidy, tidy),
)
