"""The shards that a merge names: packs of the same source in the same form, each of another share."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cmac_core.specs import JOB_SPEC, Pack
from store.errors import Incompatible, InvalidSpec, UnknownReference
from store.references import References
from store.states import FINAL, JobState
from store.tables import Job

if TYPE_CHECKING:
    from store.submission import Findings, Resolved

# What may differ between a shard and its merge: who asks, when, and how fast.
FREE = {
    "name",
    "dataset",
    "preset",
    "scale",
    "seed",
    "resources",
    "queue",
    "workers",
    "allow_missing",
    "shard",
    "merge",
}


def newest(session: Session, job_id: UUID) -> UUID:
    """The last retry of a shard, or itself: it stands for the one that a merge names."""
    while (retry := _retry(session, job_id)) is not None:
        job_id = retry
    return job_id


def check(references: References, resolved: "Resolved", found: "Findings") -> None:
    """Every share once, packed alike, none without hope; the merge waits for all of them."""
    spec = resolved.spec
    assert isinstance(spec, Pack)
    indices: dict[int, int] = {}
    for place, shard in enumerate(spec.merge):
        pointer = f"/merge/{place}/job"
        job = references.parents[newest(references.session, shard.job)]
        if job is None:
            found.add(UnknownReference, pointer, "there is no such job", str(shard.job))
            continue
        wrong = _wrong(spec, job)
        if wrong is not None:
            found.add(Incompatible, pointer, wrong, str(shard.job))
            continue
        index = job.spec["shard"]["index"]
        if indices.setdefault(index, place) != place:
            found.add(InvalidSpec, pointer, f"shard {index} is named twice, also as /merge/{indices[index]}", index)
        resolved.parents[job.id] = "afterok"


def _wrong(spec: Pack, job: Job) -> str | None:
    """Why a job is no shard of this merge."""
    stored = JOB_SPEC.validate_python(job.spec)
    if not isinstance(stored, Pack) or stored.shard is None:
        return f"that job is a {job.kind}{' of a whole dataset' if job.kind == 'pack' else ''}, and no shard"
    if stored.shard.of != len(spec.merge):
        return f"that is a shard of {stored.shard.of}, and {len(spec.merge)} are named"
    ours, theirs = (one.model_dump(mode="json", exclude=FREE) for one in (spec, stored))
    other = [f"{name} {_short(theirs[name])}, not {_short(ours[name])}" for name in ours if ours[name] != theirs[name]]
    if other:
        return f"that shard was packed otherwise: {'; '.join(other)}"
    if job.state in FINAL and job.state is not JobState.succeeded:
        return f"that shard has {job.state}; retry it, and submit the merge again"
    return None


def _short(value: Any) -> str:
    return str(value)[:60]


def _retry(session: Session, job_id: UUID) -> UUID | None:
    retries = select(Job.id).where(Job.retry_of == job_id).order_by(Job.submitted_at.desc(), Job.id).limit(1)
    return session.scalar(retries)
