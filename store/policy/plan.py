"""The plan of a pass: who starts where, who leaves, and why each of the others waits, in words with numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from store.policy.limits import Quotas
from store.policy.order import Line
from store.policy.values import EPOCH, HOUR, Free, Limits, Pending, Plan, Running, Usage, Waiting
from store.policy.yard import Reservation, Yard
from store.states import DeviceKind


def plan(
    pending: Sequence[Pending],
    nodes: Sequence[Free],
    running: Sequence[Running] = (),
    usage: Usage | None = None,
    now: datetime = EPOCH,
    limits: Limits | None = None,
) -> Plan:
    """Places for as many as fit, and for each of the others why it waits. `now` is for what texts say of times.

    One that backs off, is over its quota, or that no node here could ever hold, keeps nobody from the devices.
    """
    line, quotas = Line(pending, usage or {}, limits), Quotas(limits or {}, running)
    yards = {kind: Yard(kind, nodes, running) for kind in DeviceKind}
    made = Plan([], {}, {})
    for job in line:
        yard = yards[job.kind]
        if job.wait_s > 0:
            made.waiting[job.id] = Waiting("backoff", job.wait_text)
        elif job.devices > yard.largest:
            made.waiting[job.id] = _infeasible(job, yard)
        elif over := quotas.refuses(job):
            made.waiting[job.id] = Waiting("quota", over)
        elif placement := yard.place(job):
            line.charge(job)
            quotas.take(job)
            made.placements.append(placement)
        elif yard.reserved is None:
            victims = yard.preempt(job)
            made.victims.update(dict.fromkeys((one.job for one in victims), job.id))
            made.waiting[job.id] = _first(job, yard, now, victims)
        else:
            yard.behind += 1
            made.waiting[job.id] = _behind(job, yard, yard.reserved, line)
    return made


def _first(job: Pending, yard: Yard, now: datetime, victims: Sequence[Running]) -> Waiting:
    """Why the first that does not fit waits, and what is kept for it."""
    where = max(yard.free, key=lambda node: (len(yard.free[node]), yard.names[node]))
    text = f"needs {_count(job.devices, job.kind)} on one node; most free: {yard.most} on {yard.names[where]}"
    if victims:
        asked = ", ".join(str(one.job) for one in victims)
        return Waiting("resources", f"{text}; asked to save and leave for it: job {asked}")
    kept = yard.reserve(job)
    if kept is None:
        foreign = [node for node in yard.nodes if node.foreign]
        if not foreign:
            return Waiting("resources", text)
        held, holders = sum(node.foreign for node in foreign), ", ".join(node.name for node in foreign)
        return Waiting("foreign_process", f"{text}; {_count(held, job.kind)} on {holders} held by processes of others")
    if kept.after.guessed:
        return Waiting("resources", f"{text}; job {kept.after.job} has to end")
    # Whole minutes: an estimate moves with every pass, and whoever reads does not care for seconds.
    start = (now + timedelta(seconds=kept.start_s + 59)).replace(second=0, microsecond=0)
    when = f"{start:%H:%M} UTC" if start.date() == now.date() else f"{start:%d %b %H:%M} UTC"
    return Waiting("resources", f"{text}. Expected {when}, when job {kept.after.job} should end", start)


def _behind(job: Pending, yard: Yard, kept: Reservation, line: Line) -> Waiting:
    free = len(yard.free[kept.node])
    ahead = _ahead(yard.behind, kept.job.id)
    if free >= job.devices:
        name = yard.names[kept.node]
        text = f"{_count(free, job.kind)} on {name} free but kept for job {kept.job.id}, which this one could delay"
        return Waiting("reserved", f"{text}; {ahead}")
    overtaken = kept.job.tier == job.tier and kept.job.waited_s < job.waited_s
    if overtaken and (job.project, job.owner) != (kept.job.project, kept.job.owner):
        used = f"you used {_hours(line.used(job))} GPU-hours of late, {kept.job.owner} {_hours(line.used(kept.job))}"
        return Waiting("fair_share", f"{ahead}; {used}" if yard.behind <= 20 else ahead)
    return Waiting("priority", ahead)


def _infeasible(job: Pending, yard: Yard) -> Waiting:
    here = f"the largest that works now has {yard.largest}" if yard.largest else "no node with any works now"
    return Waiting("infeasible", f"needs {_count(job.devices, job.kind)} on one node; {here}")


def _ahead(place: int, first: UUID) -> str:
    # Rounded beyond 20, or each placement would rewrite the text of every job in a long queue.
    limit = next((limit for limit in (5000, 2000, 1000, 500, 200, 100, 50, 20) if place > limit), None)
    return _ahead_text(f"more than {limit} jobs" if limit else f"{place} job{'s' if place > 1 else ''}", first)


@lru_cache(maxsize=64)
def _ahead_text(jobs: str, first: UUID) -> str:
    return f"{jobs} ahead; next is {first}"


def _hours(seconds: float) -> str:
    hours = seconds / HOUR
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def _count(devices: int, kind: DeviceKind) -> str:
    name = "GPU" if kind is DeviceKind.gpu else "CPU slot"
    return f"{devices} {name}{'s' if devices > 1 else ''}"
