"""The line of queued jobs as the database knows it: who waits, how much each has used, how long each may run."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Float, cast, exists, func, select, text
from sqlalchemy.orm import Session

from store import facts, quotas, walltime
from store.ends import Reason
from store.facts import Facts
from store.policy import DAY, LEAVING_S, Limits, Line, Patience, Pending, Running, Usage
from store.settings import settings
from store.states import DeviceKind, JobState
from store.tables import JSON, Attempt, Device, DeviceLease, Job

MOST_PLANNED = 10_000  # queued jobs that one pass looks at
HALF_LIFE_S = 7 * DAY
REMEMBERED_S = 8 * HALF_LIFE_S
MARGIN = 1.5  # over the 95th percentile of what jobs like it took
RECENT = 100  # of each kind and scale
LEAST_LEFT_S = 60.0  # of a job that has run longer than expected

# Closed form of the integral of 2^(-age / half-life) over each lease (QUEUE 4): no counter that could drift.
_USAGE = text(
    """
    SELECT project, owner, sum(weight::float8 * :h / ln(2::float8) * (
             power(2::float8, -greatest(extract(epoch FROM now() - coalesce(released_at, now()))::float8, 0) / :h)
           - power(2::float8, -greatest(extract(epoch FROM now() - leased_at)::float8, 0) / :h)))
      FROM gpu_leases
     WHERE released_at IS NULL OR released_at > now() - make_interval(secs => :remembered)
  GROUP BY project, owner
    """
)

# The last of each kind and scale: one look into an index for each, however long the history is.
_TOOK = text(
    """
    SELECT wanted.kind, wanted.scale, percentile_cont(0.95) WITHIN GROUP (ORDER BY took.s)
      FROM unnest(CAST(:kinds AS text[]), CAST(:scales AS text[])) AS wanted (kind, scale),
           LATERAL (SELECT extract(epoch FROM ended_at - started_at)::float8 AS s
                      FROM jobs
                     WHERE state = 'succeeded' AND jobs.kind = wanted.kind
                       AND jobs.scale = wanted.scale AND started_at IS NOT NULL
                  ORDER BY ended_at DESC LIMIT :recent) AS took
  GROUP BY wanted.kind, wanted.scale
    """
)

_SINCE = {"started": Attempt.created_at, "saved": func.coalesce(walltime.SAVED_AT, Attempt.created_at)}
ONE_DAY, SPARED_FOR, SPARED_AFTER = timedelta(days=1), timedelta(hours=2), 2  # preemptions of a job (QUEUE 4)


def patience() -> Patience:
    """What jobs of different tiers grant each other in this lab."""
    lab = settings()
    return Patience(lab.preempt_after_s, lab.least_run_s, lab.times.scaled(LEAVING_S))


class Share(NamedTuple):
    """What somebody has used of late, has now, and waits for."""

    project: str
    owner: str
    used_s: float  # device-seconds times weight, decayed
    gpus: int
    cpu_slots: int
    queued: int


class Queued(NamedTuple):
    """Everything about the line that a pass needs."""

    pending: list[Pending]
    facts: Mapping[UUID, Facts]
    usage: Usage
    limits: Limits
    now: datetime  # the database's


def is_empty(session: Session) -> bool:
    """Whether nobody waits."""
    return not session.scalar(select(exists().where(Job.state == JobState.queued)))


def queued(session: Session) -> Queued:
    """Queued jobs by tier and age, and what their owners have used."""
    found, now = facts.read(session, MOST_PLANNED)
    took = expected(session, found.likes)
    pending = list(_pending(found.by_version.values(), took))
    return Queued(pending, found.by_id, used(session), quotas.limits(session), now)


def _pending(found: Iterable[Facts], took: Mapping[tuple[str, str], float]) -> Iterator[Pending]:
    """Each with the time that its spec or the history of its like gives it."""
    least_s = settings().times.scaled(LEAST_LEFT_S)
    for one in found:
        if one.may_run_s is None:
            runtime_s = took.get(one.like)
            guessed, runtime_s = runtime_s is None, DAY if runtime_s is None else runtime_s
        else:
            guessed, runtime_s = False, max(one.may_run_s, least_s)
        pending = one.pending
        known = pending.runtime_s == runtime_s and pending.guessed is guessed
        yield pending if known else one.expecting(runtime_s, guessed)


def order(session: Session, *more: Pending) -> list[UUID]:
    """Queued jobs, and `more` that could be, in the order in which the next pass looks at them."""
    line = queued(session)
    return [job.id for job in Line([*line.pending, *more], line.usage, line.limits, line.now.timestamp())]


def used(session: Session) -> Usage:
    """Device-seconds times weight by (project, owner), each worth half after a week."""
    rows = session.execute(_USAGE, {"h": HALF_LIFE_S, "remembered": REMEMBERED_S})
    return {(project, owner): float(seconds) for project, owner, seconds in rows}


def shares(session: Session) -> list[Share]:
    """Everybody who has used, has or waits for a device, those of the least used project first."""
    seconds = used(session)
    who = (DeviceLease.project, DeviceLease.owner)
    gpus, slots = (func.count().filter(Device.kind == kind) for kind in (DeviceKind.gpu, DeviceKind.cpu))
    live = (
        select(*who, gpus, slots).join(Device, Device.id == DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
    )
    held = {(row[0], row[1]): (row[2], row[3]) for row in session.execute(live.group_by(*who))}
    asked = select(Job.project, Job.owner, func.count()).where(Job.state == JobState.queued)
    waits = {(row[0], row[1]): row[2] for row in session.execute(asked.group_by(Job.project, Job.owner))}
    projects: dict[str, float] = {}
    for (project, _), mine in seconds.items():
        projects[project] = projects.get(project, 0.0) + mine
    found = sorted({*seconds, *held, *waits}, key=lambda key: (projects.get(key[0], 0.0), seconds.get(key, 0.0), key))
    return [Share(*key, seconds.get(key, 0.0), *held.get(key, (0, 0)), waits.get(key, 0)) for key in found]


def expected(session: Session, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """For how long a job of each (kind, scale) may run, seconds: half as long again as nearly all of the last did."""
    if not wanted:
        return {}
    kinds, scales = zip(*sorted(wanted), strict=True)
    rows = session.execute(_TOOK, {"kinds": list(kinds), "scales": list(scales), "recent": RECENT})
    return {(kind, scale): MARGIN * float(seconds) for kind, scale, seconds in rows}


def running(session: Session) -> list[Running]:
    """Jobs that hold devices, node by node: when these are expected back, and who might leave for others."""
    seconds = {name: cast(func.extract("epoch", func.now() - since), Float) for name, since in _SINCE.items()}
    preemptible = func.coalesce(Job.spec["queue"]["preemptible"].as_boolean(), False)
    # Columns rather than rows: of a spec that is large one word is wanted.
    known = (Job.id, Job.state, Job.kind, Job.scale, Job.project, Job.owner, Job.priority, preemptible)
    query = (
        select(
            *known,
            Attempt.progress,
            Device.node_id,
            Device.kind,
            func.count(DeviceLease.id),
            walltime.left(),
            *seconds.values(),
        )
        .join(Attempt, Attempt.job_id == Job.id)
        .join(DeviceLease, DeviceLease.attempt_id == Attempt.id)
        .join(Device, Device.id == DeviceLease.gpu_id)
        .where(DeviceLease.released_at.is_(None))
        .group_by(Job.id, Attempt.id, Device.node_id, Device.kind)
    )
    rows = session.execute(query).all()
    took = expected(session, {(row[2], row[3]) for row in rows})
    spared = _spared(session, [row[0] for row in rows])
    found = []
    for job, state, *like, project, owner, tier, willing, progress, node, kind, devices, may_run, ran, unsaved in rows:
        stopping = state is JobState.stopping
        left_s, guessed = _left(ran, progress, took.get((like[0], like[1])), may_run)
        found.append(
            Running(
                job,
                node,
                kind,
                devices,
                min(left_s, patience().leaving_s) if stopping else left_s,
                guessed and not stopping,
                project,
                owner,
                tier=tier,
                preemptible=willing,
                spared=job in spared,
                stopping=stopping,
                ran_s=ran,
                unsaved_s=unsaved,
            )
        )
    return found


def _spared(session: Session, running: list[UUID]) -> set[UUID]:
    """Jobs that had to leave twice within a day, the last time less than two hours ago."""
    left = (Attempt.job_id.in_(running), Attempt.reason == Reason.preempted, Attempt.exited_at > func.now() - ONE_DAY)
    rows = select(Attempt.job_id).where(*left).group_by(Attempt.job_id).having(func.count() >= SPARED_AFTER)
    return set(session.scalars(rows.having(func.max(Attempt.exited_at) > func.now() - SPARED_FOR)))


def _left(
    elapsed_s: float, progress: JSON | None, expected_s: float | None, may_run_s: float | None
) -> tuple[float, bool]:
    """Seconds that a job still needs, and whether they are a guess. A training tells them; else limit or history."""
    least_s = settings().times.scaled(LEAST_LEFT_S)
    longest = math.inf if may_run_s is None else max(may_run_s, least_s)
    if progress and progress.get("phase") == "train" and progress.get("eta_s") is not None:
        return min(MARGIN * float(progress["eta_s"]) + least_s, longest), False
    if may_run_s is not None:
        return longest, False
    return max((expected_s or DAY) - elapsed_s, least_s), expected_s is None
