"""The log of decisions: when, who, what, where, and why in the service's own words."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from afternoon.records import Placed, Records
from store.states import FINAL, NodeState, Priority
from store.tables import Audit, Job, JobEvent

SCHEDULER, LAB = "scheduler", "lab"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Decision(NamedTuple):
    """One line of the log."""

    at: datetime
    who: str
    text: str


def log(records: Records) -> list[str]:
    """A line a decision, in their order, each with minutes and seconds since the beginning."""
    made = sorted(_decisions(records), key=lambda one: one.at)
    names = {str(job.id): job.name for job in records.history.jobs}
    began = records.story.began

    def line(one: Decision) -> str:
        seconds = max(0, int((one.at - began).total_seconds()))
        return f"{seconds // 60}:{seconds % 60:02}  {one.who:10} {ID.sub(lambda id: names.get(id[0], id[0]), one.text)}"

    return [line(one) for one in made]


def _decisions(records: Records) -> Iterator[Decision]:
    for job in records.history.jobs:
        for event in records.events(job):
            yield from _of_event(job, event)
    yield from (_of_placement(records, one) for one in records.placed())
    yield from _of_waits(records)
    yield from (found for row in records.trail if (found := _of_trail(row)))
    yield from _of_machines(records)


def _of_event(job: Job, event: JobEvent) -> Iterator[Decision]:
    said = event.data
    if event.type == "state" and said.get("was") is None and "stop_for" not in said:
        yield Decision(event.at, job.owner, f"submits {job.name}: {_asked(job)}")
    elif event.type == "state" and said["state"] == "stopping":
        yield Decision(event.at, SCHEDULER, f"asks {job.name} to save and leave ({said['stop_for']}): {said['detail']}")
    elif event.type == "state" and said["state"] == "queued" and said.get("attempt_reason"):
        back = f", not before {said['wait_s']:.1f} s from now" if said["wait_s"] else ""
        yield Decision(
            event.at, LAB, f"{job.name} is back in line ({said['reason']}){back}. {said['detail']}".rstrip(" .")
        )
    elif event.type == "end" and said["state"] in FINAL:
        why = "" if said["state"] == "succeeded" else f" ({said['reason']}): {said['detail']}"
        yield Decision(event.at, LAB, f"{job.name} has {said['state']}{why}")


def _asked(job: Job) -> str:
    gpus = f"{job.gpus} GPU{'s' if job.gpus > 1 else ''}" + (f" on {job.nodes} nodes" if job.nodes > 1 else "")
    return f"{gpus}, {list(Priority)[job.priority]}, at most {job.walltime_s:.0f} s"


def _of_placement(records: Records, one: Placed) -> Decision:
    again = "" if one.attempt.resume_step is None else f"; it goes on from step {one.attempt.resume_step}"
    waited = (one.at - one.job.submitted_at).total_seconds()
    gpus = f"{one.job.gpus} GPU{'s' if one.job.gpus > 1 else ''}"
    text = f"gives {one.job.name} {gpus} on {' and '.join(one.nodes)}, {waited:.0f} s after it was submitted{again}"
    return Decision(one.at, SCHEDULER, text + _filling(records, one))


def _filling(records: Records, one: Placed) -> str:
    """Before which job a later one was let go, since it would be gone in time."""
    for job in records.history.jobs:
        first = job.priority <= one.job.priority and job.submitted_at < one.job.submitted_at and job.nodes > 1
        if first and any(since < one.at < until for since, until in records.queued(job)):
            return f"; it fills in before {job.name}"
    return ""


def _of_waits(records: Records) -> Iterator[Decision]:
    """Each kind of reason once while a job waits; texts with a number of jobs change with every placement."""
    told: set[tuple[object, ...]] = set()
    for said in records.watch.waits:
        job = next(job for job in records.history.jobs if job.id == said.job)
        spell = sum(start <= said.at for start, _ in records.queued(job))
        if (said.job, spell, said.code) not in told:
            told.add((said.job, spell, said.code))
            yield Decision(said.at, SCHEDULER, f"lets {job.name} wait ({said.code}): {said.text}")


def _of_trail(row: Audit) -> Decision | None:
    after = row.after or {}
    if row.action == "quota.put":
        return Decision(row.at, row.principal, f"allows {row.target} {after['max_gpus']} GPUs at a time")
    if row.action.startswith("node."):
        why = f": {after['reason']}" if after.get("reason") else ""
        return Decision(row.at, row.principal, f"declares {row.target} {row.action.removeprefix('node.')}{why}")
    return None


def _of_machines(records: Records) -> Iterator[Decision]:
    story = records.story
    if story.lost_at is not None:
        yield Decision(story.lost_at, "(accident)", f"power is gone on {story.lost}")
    for at, name, state, why in records.watch.nodes:
        if state is NodeState.lost:
            yield Decision(at, LAB, f"gives {name} up for lost: {why}")
