"""The plan of a pass: who starts where, who leaves, and why each of the others waits, in words with numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from store.policy.limits import Quotas
from store.policy.order import Line
from store.policy.values import EPOCH, HOUR, PATIENCE, Free, Limits, Patience, Pending, Plan, Running, Usage, Waiting
from store.policy.yard import Reservation, Yard
from store.states import DeviceKind

NAMED = 20  # places in line that are told as they are; those behind in the steps below
# Or each placement would change the text of every job in a long queue.
ROUNDED = (20, 50, 100, 200, 500, 1000, 2000, 5000)
_STEPS = frozenset(ROUNDED)


def plan(
    pending: Sequence[Pending],
    nodes: Sequence[Free],
    running: Sequence[Running] = (),
    usage: Usage | None = None,
    now: datetime = EPOCH,
    limits: Limits | None = None,
    patience: Patience = PATIENCE,
) -> Plan:
    """Places for as many as fit, and for each of the others why it waits. `now` is for what texts say of times.

    One that backs off, is over its quota, or that no node here could ever hold, keeps nobody from the devices.
    """
    now_s = now.timestamp()
    line, quotas = Line(pending, usage or {}, limits, now_s), Quotas(limits or {}, running)
    gpus, slots = (Yard(kind, nodes, running, patience, now_s) for kind in (DeviceKind.gpu, DeviceKind.cpu))
    made = Plan([], {}, {})
    for job in line:
        yard, over = gpus if job.kind is gpus.kind else slots, quotas.refuses(job) if limits else None
        if job.until_s > now_s:
            made.waiting[job.id] = Waiting("backoff", job.until_text)
        elif not over and (kept := yard.stuck_behind(job)):
            made.waiting[job.id] = _behind(job, yard, kept, line)
        elif not yard.could_hold(job):
            made.waiting[job.id] = _infeasible(job, yard)
        elif over:
            made.waiting[job.id] = Waiting("quota", over)
        elif placement := yard.place(job):
            line.charge(job)
            quotas.take(job)
            made.placements.append(placement)
        elif kept := yard.ahead(job):
            made.waiting[job.id] = _behind(job, yard, kept, line)
        else:
            victims = yard.preempt(job)
            made.victims.update(dict.fromkeys((one.job for one in victims), job.id))
            made.waiting[job.id] = _first(job, yard, now, victims)
    return made


def _first(job: Pending, yard: Yard, now: datetime, victims: Sequence[Running]) -> Waiting:
    """Why the first that does not fit waits, and what is kept for it."""
    text = f"needs {_needs(job)}; {_most_free(job, yard)}"
    if victims:
        asked = ", ".join(str(one.job) for one in victims)
        return Waiting("resources", f"{text}; asked to save and leave for it: job {asked}")
    kept = yard.reserve(job)
    if kept is None:
        foreign = [node for node in yard.fit(job.wants) if node.foreign]
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
    """Counts one more behind a reservation, and tells it what those of its size near it are told."""
    first = kept.job
    kept.behind = behind = kept.behind + 1
    if behind <= NAMED or behind - 1 in _STEPS:
        kept.told.clear()
    overtaken = first.submitted_s > job.submitted_s and first.tier == job.tier
    overtaken = overtaken and (job.owner != first.owner or job.project != first.project)
    size = job.devices // job.nodes, overtaken
    told = kept.told.get(size)
    if told is None:
        told = kept.told[size] = _why_behind(job, yard, kept, line, overtaken)
    return told


def _why_behind(job: Pending, yard: Yard, kept: Reservation, line: Line, overtaken: bool) -> Waiting:
    free = {node: len(yard.free[node]) for node in kept.spare}
    ahead = _ahead(kept.behind, kept.job.id)
    if max(free.values()) >= job.each:
        names = ", ".join(sorted(yard.names[node] for node, devices in free.items() if devices))
        text = f"{_count(sum(free.values()), job.kind)} on {names} free but kept for job {kept.job.id}"
        return Waiting("reserved", f"{text}, which this one could delay; {ahead}")
    if overtaken:
        text = f"{ahead}; {_shares(job, kept.job, line)}" if kept.behind <= NAMED else ahead
        return Waiting("fair_share", text)
    return Waiting("priority", ahead)


def _shares(job: Pending, first: Pending, line: Line) -> str:
    """What decided between two: the use of their projects, within one that of its users."""
    if job.project != first.project:
        mine, theirs = _hours(line.used_by_project(job)), _hours(line.used_by_project(first))
        return f"your project {job.project} used {mine} GPU-hours of late, {first.project} {theirs}"
    return f"you used {_hours(line.used(job))} GPU-hours of late, {first.owner} {_hours(line.used(first))}"


def _infeasible(job: Pending, yard: Yard) -> Waiting:
    if not yard.fit(job.wants):
        here = f"no node{str(job.wants) or ' with any'} works now"
    elif job.nodes > 1:
        here = f"{yard.alike_with(job)} that work now have as many, one GPU model and one storage"
    else:
        here = f"the largest that works now has {yard.largest(job.wants)}"
    return Waiting("infeasible", f"needs {_needs(job)}; {here}")


def _needs(job: Pending) -> str:
    where = "on one node" if job.nodes == 1 else f"on each of {job.nodes} nodes"
    return f"{_count(job.each, job.kind)} {where}{job.wants}"


def _most_free(job: Pending, yard: Yard) -> str:
    nodes = yard.fit(job.wants)
    if job.nodes > 1:
        able = sum(len(yard.free[node.node]) >= job.each for node in nodes)
        return f"so many are free on {able} of {len(nodes)}"
    where = max(nodes, key=lambda node: (len(yard.free[node.node]), node.name))
    return f"most free: {len(yard.free[where.node])} on {where.name}"


def _ahead(place: int, first: UUID) -> str:
    limit = next((limit for limit in reversed(ROUNDED) if place > limit), None)
    jobs = f"more than {limit} jobs" if limit else f"{place} job{'s' if place > 1 else ''}"
    return f"{jobs} ahead; next is {first}"


def _hours(seconds: float) -> str:
    hours = seconds / HOUR
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.2g}"


def _count(devices: int, kind: DeviceKind) -> str:
    name = "GPU" if kind is DeviceKind.gpu else "CPU slot"
    return f"{devices} {name}{'s' if devices > 1 else ''}"
