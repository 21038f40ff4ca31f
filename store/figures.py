"""Counts and ages for the operator, read in one short transaction at each scrape."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from store.states import LIVE_PARTS
from store.tables import Attempt, Device, DeviceLease, Job, Leader, Node, Outbox, Part


class Figure(NamedTuple):
    """One family of numbers, in Prometheus' terms."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: list[tuple[tuple[str, ...], float]]
    counter: bool = False


def read(session: Session) -> list[Figure]:
    """All of them."""
    return [_jobs(session), _devices(session), _leases(session), _attempts(session), *_ages(session), _outbox(session)]


def _jobs(session: Session) -> Figure:
    rows = session.execute(select(Job.state, Job.kind, func.count()).group_by(Job.state, Job.kind)).all()
    return Figure("cmac_jobs", "Jobs by state and kind.", ("state", "kind"), _labelled(rows))


def _devices(session: Session) -> Figure:
    """`cpu` is the model of a CPU slot; `leased` is the state of a sound device that somebody holds."""
    held = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
    state = case((Device.id.in_(held), "leased"), else_=Device.state).label("state")
    model = func.coalesce(Device.model, Device.kind).label("model")
    rows = session.execute(select(state, model, func.count()).group_by(state, model)).all()
    return Figure("cmac_gpus", "Devices by state and model.", ("state", "model"), _labelled(rows))


def _leases(session: Session) -> Figure:
    count = session.scalar(select(func.count()).where(DeviceLease.released_at.is_(None))) or 0
    return Figure("cmac_gpu_leases", "Devices that are leased now.", (), [((), float(count))])


def _attempts(session: Session) -> Figure:
    ended = select(Attempt.reason, func.count()).where(Attempt.exited_at.is_not(None)).group_by(Attempt.reason)
    rows = session.execute(ended).all()
    return Figure("cmac_attempts", "Attempts that have ended, by reason.", ("reason",), _labelled(rows), counter=True)


def _ages(session: Session) -> list[Figure]:
    # clock_timestamp: now() stands still within a transaction.
    beat = func.extract("epoch", func.clock_timestamp() - func.min(Part.heartbeat_at))
    oldest = session.scalar(select(func.coalesce(beat, 0)).where(Part.state.in_(LIVE_PARTS)))
    since = func.extract("epoch", func.clock_timestamp() - Node.heartbeat_at)
    nodes = session.execute(select(Node.name, since)).all()
    renewed = func.extract("epoch", func.clock_timestamp() - Leader.renewed_at)
    leaders = session.execute(select(Leader.name, renewed)).all()
    return [
        Figure(
            "cmac_heartbeat_age_seconds", "Age of the oldest live part's heartbeat.", (), [((), float(oldest or 0))]
        ),
        Figure("cmac_node_heartbeat_age_seconds", "Age of each node's heartbeat.", ("node",), _labelled(nodes)),
        Figure(
            "cmac_leader_age_seconds", "Time since a loop's leader renewed its term.", ("name",), _labelled(leaders)
        ),
    ]


def _outbox(session: Session) -> Figure:
    count = session.scalar(select(func.count()).where(Outbox.sent_at.is_(None))) or 0
    return Figure("cmac_outbox_pending", "Messages that wait to be sent.", (), [((), float(count))])


def _labelled(rows: Iterable[Any]) -> list[tuple[tuple[str, ...], float]]:
    return [(tuple(str(label) for label in row[:-1]), float(row[-1])) for row in rows]
