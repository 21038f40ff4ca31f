"""What a fair afternoon must look like. Each check returns what is wrong, in words."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from afternoon.lab import QUOTAS
from afternoon.records import Placed, Records
from chaos import invariants
from chaos.invariants import AT_REST, broken
from chaos.program import CURVE, SAVE_EVERY, undisturbed
from cmac_core.events import Metrics, read
from store.ends import Reason
from store.states import JobState, NodeState, Priority
from store.tables import Attempt, Job

Check = Callable[[Records], Iterator[str]]
UNEVEN = 0.1  # of what another has used, and
UNEVEN_S = 16.0  # GPU-seconds: by as much, who is passed over may have used less
PASS_S = 2.0  # in which the scheduler sees what has changed
SAME_PASS_S = 0.5  # between two placements of one pass, at most
PROMPT_S = 6.0  # from the last device that was waited for to the job that waited for it


def violations(records: Records, folder: Callable[[UUID, int], Path]) -> list[str]:
    """All that is wrong, each under the name of its check."""
    wrong = broken(AT_REST, records.history)
    wrong += [f"lines: {text}" for text in invariants.every_line_is_stored_once(records.history, folder)]
    wrong += [f"asked_to_leave: {text}" for text in who_is_asked_loses_nothing(records, folder)]
    return wrong + [f"{check.__name__}: {text}" for check in CHECKS for text in check(records)]


def jobs_end_with_the_right_result(records: Records) -> Iterator[str]:
    """Whatever befell it, each job has succeeded, with the numbers of an undisturbed run."""
    curves, results = {}, {}
    for job in records.history.jobs:
        if job.state is not JobState.succeeded:
            yield f"{job.name} has {job.state}: {job.reason} {job.detail}"
        losses = undisturbed(records.story.asks[job.name].course).losses
        curves[job.id] = {(CURVE, step): loss for step, loss in enumerate(losses, start=1)}
        results[job.id] = {"accuracy": losses[-1]}
    yield from invariants.curves_are_whole(records.history, curves)
    yield from invariants.results_are_right(records.history, results)


def quotas_hold(records: Records) -> Iterator[str]:
    """Nobody ever held more GPUs than allowed, and somebody was made to wait for that."""
    for subject, most in QUOTAS.items():
        user = subject.removeprefix("user:")
        for one in records.placed():
            if (held := records.held(user, one.at)) > most:
                yield f"{user} held {held} GPUs of {most} when {one.job.name} was placed"
        if not any(said.code == "quota" for said in records.watch.waits):
            yield f"{user}'s quota made nobody wait"


def a_reservation_is_not_delayed(records: Records) -> Iterator[str]:
    """The wide job starts when the last of its devices that were taken before comes free; fillers are gone by then."""
    wide = records.job("wide")
    kept = next((said for said in records.watch.waits if said.job == wide.id and said.expected), None)
    if kept is None:
        yield "the wide job was promised no start"
        return
    started = min(one.at for one in records.placed() if one.job is wide)
    if started > datetime.fromisoformat(kept.expected or ""):
        yield f"the wide job was promised {kept.expected} and started at {started}"
    devices = {lease.gpu_id for attempt in records.attempts(wide) for lease in records.leases(attempt)}
    before = [one for one in records.history.leases if one.gpu_id in devices and one.leased_at < started]
    awaited = max(lease.released_at for lease in before if lease.leased_at < kept.at and lease.released_at)
    if (started - awaited).total_seconds() > PROMPT_S:
        yield f"the wide job could have started at {awaited} and did at {started}"
    fillers = {one.job.name: one for one in records.placed() if kept.at < one.at < started and one.job is not wide}
    if "quick" not in fillers:
        yield "no short job was filled in before the wide one"
    for name, filler in fillers.items():
        gone = max(lease.released_at or started for lease in records.leases(filler.attempt))
        if {lease.gpu_id for lease in records.leases(filler.attempt)} & devices and gone > awaited:
            yield f"{name} was filled in and left at {gone}, after {awaited}, when the wide job could have started"


def who_is_asked_loses_nothing(records: Records, folder: Callable[[UUID, int], Path]) -> Iterator[str]:
    """Asked to leave, a job goes on from its last step; killed, from its last checkpoint."""
    for attempt in records.history.attempts:
        again = records.history.next_to_run(attempt)
        if again is None or attempt.running_at is None:
            continue
        lines, _ = read(folder(attempt.job_id, attempt.epoch))
        reached = max([line.step for line in lines if isinstance(line, Metrics)], default=attempt.resume_step or 0)
        lost = reached - (again.resume_step or 0)
        may_lose = 0 if attempt.reason in (Reason.preempted, Reason.drained) else 2 * SAVE_EVERY
        if lost > may_lose:
            yield f"attempt {attempt.id} ({attempt.reason}) reached {reached}, the next began at {again.resume_step}"


def the_deadline_costs_least(records: Records) -> Iterator[str]:
    """One job left for the urgent one, of the lowest tier, and comes back before younger ones like it."""
    asked = f"for job {records.job('deadline').id}"
    left = [one for one in records.history.attempts if one.reason == Reason.preempted and _why(records, one) == asked]
    if len(left) != 1:
        yield f"{len(left)} jobs had to leave for one that needs the GPUs of one"
    for attempt in left:
        job = next(job for job in records.history.jobs if job.id == attempt.job_id)
        if job.priority != Priority.low.rank:
            yield f"{job.name} had to leave though jobs of a lower tier ran"
        yield from _overtaken(records, job, attempt)


def _why(records: Records, attempt: Attempt) -> str:
    """What an attempt was asked to leave for."""
    said = [event.data for event in records.history.events if event.job_id == attempt.job_id]
    stops = (one for one in said if one.get("state") == JobState.stopping and one.get("epoch") == attempt.epoch)
    return str(next(stops, {}).get("detail", ""))


def _overtaken(records: Records, job: Job, attempt: Attempt) -> Iterator[str]:
    over = attempt.exited_at
    assert over is not None
    back = min((one.at for one in records.placed() if one.job is job and one.at > over), default=None)
    if back is None:
        yield f"{job.name} did not come back"
        return
    for one in records.placed():
        alike = (one.job.owner, one.job.priority, one.job.gpus) == (job.owner, job.priority, job.gpus)
        waited = (one.at - over).total_seconds() > PASS_S
        if alike and waited and one.at < back and one.job.submitted_at > job.submitted_at:
            yield f"{one.job.name}, which is younger, was placed before {job.name} came back"


def a_drained_machine_gets_nothing(records: Records) -> Iterator[str]:
    """From the moment it is drained until it is ready again; its jobs go on."""
    node = records.story.drained
    times = {row.action: row.at for row in records.trail if row.target == node and row.action.startswith("node.")}
    since, until = times["node.draining"], times["node.ready"]
    for one in records.placed():
        if node in one.nodes and since < one.at < until:
            yield f"{one.job.name} was placed on {node} at {one.at}; it was drained from {since} to {until}"
    if not any(one.reason == Reason.drained for one in records.history.attempts):
        yield "nobody had to leave the drained machine"


def a_lost_machine_is_left_alone(records: Records) -> Iterator[str]:
    """Its jobs go on on other machines, at the cost of a restart that nobody has to pay for."""
    story = records.story
    gone = next(
        (at for at, name, state, _ in records.watch.nodes if (name, state) == (story.lost, NodeState.lost)), None
    )
    if gone is None:
        yield f"{story.lost} was not given up"
        return
    for one in records.placed():
        if one.at > gone and story.lost in one.nodes:
            yield f"{one.job.name} was placed on {story.lost} after it was gone"
    taken = [one for one in records.history.attempts if one.reason == Reason.worker_lost]
    if not taken:
        yield "no job was lost with the machine"
    for attempt in taken:
        job = next(job for job in records.history.jobs if job.id == attempt.job_id)
        if (job.infra_restarts, job.user_restarts) != (1, 0):
            yield f"{job.name} paid {job.user_restarts} restarts of its own and {job.infra_restarts} of the lab"


def nobody_who_used_less_is_passed_over(records: Records) -> Iterator[str]:
    """At each placement: no job of that tier that asks for no more and no longer waited, of one who had used less."""
    for one in records.placed():
        used = _charged(records, one)
        for other in records.history.jobs:
            if _could_have_been(records, other, one) and _less(used, other, one.job):
                yield f"{one.job.name} was placed at {one.at}; {other.name} waited, whose owner had used less: {used}"


def _charged(records: Records, one: Placed) -> dict[tuple[str, str], float]:
    """What everybody had used, and what those placed before it in its pass will use, which the pass counts at once."""
    used = records.used(one.at)
    for other in records.placed():
        if other.job is not one.job and 0 <= (one.at - other.at).total_seconds() < SAME_PASS_S:
            owner = (other.job.project, other.job.owner)
            used[owner] = used.get(owner, 0.0) + (other.job.walltime_s or 0.0) * other.job.gpus
    return used


def _could_have_been(records: Records, other: Job, one: Placed) -> bool:
    """Whether another job waited then for as much or less, and nothing of its own kept it."""
    waited = any((one.at - since).total_seconds() > PASS_S and one.at < until for since, until in records.queued(other))
    smaller = other.priority == one.job.priority and other.nodes == 1 and other.gpus <= one.job.gpus
    shorter = _left(records, other, one.at) <= _left(records, one.job, one.at)
    most = QUOTAS.get(f"user:{other.owner}")
    allowed = most is None or records.held(other.owner, one.at) + other.gpus <= most
    said = [said for said in records.watch.waits if said.job == other.id and said.at < one.at]
    return waited and smaller and shorter and allowed and not (said and said[-1].code == "backoff")


def _left(records: Records, job: Job, at: datetime) -> float:
    ran = sum(
        (min(one.exited_at or at, at) - one.running_at).total_seconds()
        for one in records.attempts(job)
        if one.running_at is not None and one.running_at < at
    )
    return (job.walltime_s or 0.0) - ran


def _less(used: dict[tuple[str, str], float], one: Job, other: Job) -> bool:
    """Whether the first one's project, or in the same project its owner, had clearly used less."""
    if one.project != other.project:
        mine, theirs = (sum(s for (name, _), s in used.items() if name == job.project) for job in (one, other))
    else:
        mine, theirs = (used.get((job.project, job.owner), 0.0) for job in (one, other))
    return mine < theirs * (1 - UNEVEN) - UNEVEN_S


CHECKS: tuple[Check, ...] = (
    jobs_end_with_the_right_result,
    quotas_hold,
    a_reservation_is_not_delayed,
    the_deadline_costs_least,
    a_drained_machine_gets_nothing,
    a_lost_machine_is_left_alone,
    nobody_who_used_less_is_passed_over,
)
