"""The queue at a glance: who waits at which place, and whether anything is other than it was."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import String, cast, func, literal_column, select
from sqlalchemy.orm import Session, defer

from store import line, listing
from store.keys import Principal
from store.policy import Line
from store.states import ACTIVE, FINAL, WAITING, JobState
from store.tables import NEVER, Device, Job, Node

ASIDE = WAITING - {JobState.queued}  # wait for something else than their turn


class Waiting(NamedTuple):
    """Some of the queued jobs, each with its place among all, and how many fit the filters."""

    placed: list[tuple[int, Job]]
    found: int


def waiting(
    session: Session, principal: Principal, filters: Mapping[str, Sequence[str]], first: int = 0, limit: int = 50
) -> Waiting:
    """Queued jobs in the scheduler's order, without their specs; of those that fit, `limit` from `first` on.

    Raises BadFilter.
    """
    fitting = select(Job.id).where(Job.state == JobState.queued, *listing.conditions(principal, filters))
    wanted = set(session.scalars(fitting)) if filters or principal.project is not None else None
    counted = select(func.count()).where(Job.state == JobState.queued)
    waits = (session.scalar(counted) or 0) if wanted is None else len(wanted)
    # No further than to the last one that is shown: the line may be long.
    order = enumerate(_line(session), start=1)
    places = ((place, job) for place, job in order if wanted is None or job in wanted)
    shown = list(itertools.islice(places, first, first + limit))
    rows = select(Job).where(Job.id.in_([job for _, job in shown])).options(defer(Job.spec), defer(Job.sent))
    found = {job.id: job for job in session.scalars(rows)}
    return Waiting([(place, found[job]) for place, job in shown if job in found], waits)


def _line(session: Session) -> Iterator[UUID]:
    """Queued jobs in the order in which the next pass looks at them, found as far as somebody asks."""
    queued = line.queued(session)
    for job in Line(queued.pending, queued.usage, queued.limits, queued.now.timestamp()):
        yield job.id


def some(
    session: Session,
    principal: Principal,
    filters: Mapping[str, Sequence[str]],
    states: frozenset[JobState],
    sort: str = "-submitted_at",
    limit: int = 50,
) -> list[Job]:
    """Jobs in one of these states, without their specs. Raises BadFilter."""
    named = {**filters, "state": sorted(map(str, states))}
    return listing.page(session, principal, named, sort, limit).items


def active(session: Session, principal: Principal, filters: Mapping[str, Sequence[str]], limit: int = 200) -> list[Job]:
    """Jobs that hold devices, the newest first. Raises BadFilter."""
    return some(session, principal, filters, ACTIVE, limit=limit)


def mark(session: Session) -> str:
    """Another text whenever a job, a machine or a device is other than it was."""
    told = func.count(), func.sum(Job.version), func.sum(Job.live)
    jobs = session.execute(select(*told).where(Job.state.not_in(FINAL))).one()
    ended = select(Job.id, Job.version).where(Job.state.in_(FINAL))
    newest = session.execute(ended.order_by(func.coalesce(Job.ended_at, literal_column(NEVER)).desc()).limit(1)).first()
    of_device = func.concat_ws(" ", Device.id, Device.state, cast(Device.health, String), cast(Device.foreign, String))
    devices = session.scalar(select(func.md5(func.string_agg(of_device, "|"))))
    of_node = func.concat_ws(" ", Node.id, Node.state, Node.reason)
    nodes = session.scalar(select(func.md5(func.string_agg(of_node, "|"))))
    whole = f"{tuple(jobs)} {newest and tuple(newest)} {devices} {nodes}"
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
