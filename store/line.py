"""The line of queued jobs as the database knows it: who waits, how much each has used, how long each may run."""

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Float, Text, case, cast, func, select, text
from sqlalchemy.orm import Session

from store import quotas, walltime
from store.ends import Reason
from store.policy import ANYWHERE, DAY, LEAVING_S, Limits, Line, Patience, Pending, Running, Usage, Wants
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


def told(code: str, text: str, expected_start: str | None) -> str:
    """Why a job waits in one string. As one it is read much faster than as JSON, and is as good to compare."""
    return "\x1f".join((code, text, expected_start or ""))


_TOLD = func.concat_ws(
    "\x1f", *(func.coalesce(Job.waiting[name].astext, "") for name in ("code", "text", "expected_start"))
)


_WANTED_LABELS = func.nullif(cast(Job.node_labels, Text), "{}")  # for the same reason; nearly all want none


def wants(model: str | None, labels: Mapping[str, str]) -> Wants:
    """Which nodes a job may go to, as the policy sees it."""
    return Wants(model, tuple(sorted(labels.items()))) if model or labels else ANYWHERE


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
    told: dict[UUID, str]  # what each is told to wait for, as `told` writes it
    usage: Usage
    limits: Limits


def queued(session: Session) -> Queued:
    """Queued jobs, oldest first, and what their owners have used."""
    kind = case((Job.gpus > 0, Job.gpus), else_=Job.cpu_slots)
    columns = (
        Job.id,
        Job.gpus,
        kind,
        func.extract("epoch", Job.not_before - func.now()),
        Job.not_before,
        Job.infra_restarts + Job.user_restarts,
        Job.rejections,
        Job.reason,
        Job.priority,
        Job.project,
        Job.owner,
        cast(func.extract("epoch", func.now() - Job.submitted_at), Float),
        Job.kind,
        Job.scale,
        Job.walltime_s - Job.used_s,
        Job.nodes,
        Job.gpu_model,
        _WANTED_LABELS,
        _TOLD,
    )
    order = (Job.priority, Job.submitted_at, Job.id)
    rows = session.execute(
        select(*columns).where(Job.state == JobState.queued).order_by(*order).limit(MOST_PLANNED)
    ).all()
    took = expected(session, {(row.kind, row.scale) for row in rows})
    least_s = settings().times.scaled(LEAST_LEFT_S)
    pending: list[Pending] = []
    for row in rows:
        job, gpus, devices, wait, until, restarts, rejections, reason, tier, project, owner, waited, kind_, scale = row[
            :14
        ]
        may_run, nodes, model, labels = row[14:-1]
        pending.append(
            Pending(
                job,
                DeviceKind.gpu if gpus else DeviceKind.cpu,
                devices,
                wait_s=max(0.0, float(wait or 0)),
                wait_text=_why_later(restarts, rejections, reason, until) if wait else "",
                tier=tier,
                project=project,
                owner=owner,
                waited_s=waited,
                runtime_s=took.get((kind_, scale), DAY) if may_run is None else max(may_run, least_s),
                guessed=may_run is None and (kind_, scale) not in took,
                nodes=nodes,
                wants=wants(model, json.loads(labels) if labels else {}),
            )
        )
    return Queued(pending, {row[0]: row[-1] for row in rows}, used(session), quotas.limits(session))


def _why_later(restarts: int, rejections: int, reason: str | None, until: datetime) -> str:
    """Why a job backs off: which try comes next, and how the last one ended."""
    what = f"launch {rejections + 1}" if rejections else f"restart {restarts}"
    return f"{what}{f' after {reason}' if reason else ''}; next try at {until:%H:%M:%S} UTC"


def order(session: Session, *more: Pending) -> list[UUID]:
    """Queued jobs, and `more` that could be, in the order in which the next pass looks at them."""
    line = queued(session)
    return [job.id for job in Line([*line.pending, *more], line.usage, line.limits)]


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


def expected(session: Session, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """For how long a job of each (kind, scale) may run, seconds: half as long again as nearly all of the last did."""
    if not wanted:
        return {}
    kinds, scales = zip(*sorted(wanted), strict=True)
    rows = session.execute(_TOOK, {"kinds": list(kinds), "scales": list(scales), "recent": RECENT})
    return {(kind, scale): MARGIN * float(seconds) for kind, scale, seconds in rows}


def running(session: Session) -> list[Running]:
    """Jobs that hold devices, node by node: when these are expected back, and who might leave for others."""
    seconds = {name: cast(func.extract("epoch", func.now() - since), Float) for name, since in _SINCE.items()}
    query = (
        select(
            Job, Attempt, Device.node_id, Device.kind, func.count(DeviceLease.id), walltime.left(), *seconds.values()
        )
        .join(Attempt, Attempt.job_id == Job.id)
        .join(DeviceLease, DeviceLease.attempt_id == Attempt.id)
        .join(Device, Device.id == DeviceLease.gpu_id)
        .where(DeviceLease.released_at.is_(None))
        .group_by(Job.id, Attempt.id, Device.node_id, Device.kind)
    )
    rows = session.execute(query).all()
    took = expected(session, {(job.kind, job.scale) for job, *_ in rows})
    spared = _spared(session, [job.id for job, *_ in rows])
    found = []
    for job, attempt, node, kind, devices, may_run, elapsed, unsaved in rows:
        stopping = job.state is JobState.stopping
        left_s, guessed = _left(elapsed, attempt.progress, took.get((job.kind, job.scale)), may_run)
        found.append(
            Running(
                job.id,
                node,
                kind,
                devices,
                min(left_s, patience().leaving_s) if stopping else left_s,
                guessed and not stopping,
                job.project,
                job.owner,
                tier=job.priority,
                preemptible=bool(job.spec["queue"].get("preemptible")),
                spared=job.id in spared,
                stopping=stopping,
                ran_s=elapsed,
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
