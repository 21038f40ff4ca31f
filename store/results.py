"""What a job found out, and what it was made of."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store import artifacts, jobs, listing, tries
from store.keys import Principal
from store.made import left_by
from store.states import FINAL, JobState
from store.tables import LABELS, Attempt, Checkpoint, Dataset, Job, JobEvent, Result, ResultValue

BESIDE = ("paper", "random_init", "chance")
MOST_VALUES = 100_000


def view(session: Session, job_id: UUID, principal: Principal) -> dict[str, Any]:
    """The /results body (API 3) as a plain dict; the caller derives the status from `final` (202 or 200).

    Always: id, kind, name, state, final, version, live, values, protocol, lineage, artifacts
    [{id, name, kind, media_type, bytes, sha256, meta}], warnings [{code, message}], retried_by.
    Unfinished: waiting, progress; values have
    `partial: true`. Failed: error {reason, detail, hint, log_tail}. Cancelled: cancelled {by, at, reason, why}.
    Raises NotFound.
    """
    job = jobs.get(session, job_id, principal)
    result = session.get(Result, job.id, populate_existing=True)
    partial = job.state is not JobState.succeeded
    told: dict[str, Any] = {
        "id": str(job.id),
        "kind": job.kind,
        "name": job.name,
        "state": str(job.state),
        "final": job.state in FINAL,
        "version": job.version,
        "live": job.live,
        "values": [plain(value) | ({"partial": True} if partial else {}) for value in _values(session, job)],
        "protocol": result.protocol if result else {},
        "lineage": lineage(session, job) | (result.lineage if result else {}),
        "artifacts": [_artifact(one) for one in artifacts.of_job(session, job.id)],
        "warnings": _warnings(session, job),
        "retried_by": _retried_by(session, job),
    }
    if job.state not in FINAL:
        return told | {"waiting": job.waiting, "progress": job.progress}
    if job.state is JobState.failed:
        names = ("reason", "detail", "hint", "log_tail")
        return told | {"error": {name: getattr(job, name) for name in names}}
    if job.state is JobState.cancelled:
        by = job.ended_by or "system"
        return told | {"cancelled": {"by": by, "at": job.ended_at, "reason": job.reason, "why": job.detail}}
    return told


def plain(value: ResultValue) -> dict[str, Any]:
    """One number with its n and only those labels that it has."""
    told: dict[str, Any] = {"name": value.name, "value": value.value, "unit": value.unit, "n": value.n}
    if value.ci_low is not None and value.ci_high is not None:
        told["ci95"] = [value.ci_low, value.ci_high]
    return told | {name: found for name in (*LABELS, *BESIDE) if (found := getattr(value, name)) is not None}


def lineage(session: Session, job: Job) -> dict[str, Any]:
    """What the job was made of: inputs with their hashes, seed, code and machine of its newest attempt."""
    newest = tries.newest(session, job.id)
    tried = session.scalar(select(func.count()).where(Attempt.job_id == job.id)) or 0
    versions = (newest.versions if newest else None) or {}
    told: dict[str, Any] = {
        "seed": job.seed,
        "spec_sha256": job.spec_sha256,
        "git_sha": job.git_sha,
        "lock_sha256": job.lock_sha256,
        "versions": versions,
        "attempts": tried,
        "world_size": newest.world_size if newest else None,
    }
    if versions.get("git_sha") not in (None, job.git_sha):
        told["warning"] = f"submitted with code {job.git_sha}, run with {versions['git_sha']}"
    if job.dataset_id is not None:
        dataset = session.get_one(Dataset, job.dataset_id)
        told["dataset"] = {"id": str(dataset.id), "name": dataset.reference, "manifest_sha256": dataset.manifest_sha256}
    made = session.scalar(select(Dataset).where(Dataset.job_id == job.id))
    if made is not None:
        told["made_dataset"] = {"id": str(made.id), "name": made.reference, "manifest_sha256": made.manifest_sha256}
    return told | _checkpoint(session, job, newest)


def _checkpoint(session: Session, job: Job, newest: Attempt | None) -> dict[str, Any]:
    """The checkpoint that an evaluation read, or the one that a pretraining or import left."""
    read = ((newest.inputs if newest else None) or {}).get("checkpoint")
    known = session.get(Checkpoint, UUID(read["id"])) if read is not None else None
    if job.kind == "pretrain":
        started = {"init_checkpoint": str(known.id), "init_job": str(known.job_id)} if known else {}
        return started | _told(session, left_by(session, job))
    return _told(session, known or left_by(session, job))


def _told(session: Session, checkpoint: Checkpoint | None) -> dict[str, Any]:
    if checkpoint is None:
        return {}
    maker = session.get_one(Job, checkpoint.job_id)
    return {
        "checkpoint": str(checkpoint.id),
        "checkpoint_sha256": checkpoint.sha256,
        "checkpoint_step": checkpoint.step,
        "checkpoint_train_epoch": checkpoint.train_epoch,
        f"{maker.kind}_job": str(maker.id),
    }


def page(
    session: Session, principal: Principal, filters: dict[str, list[str]], limit: int = 1000
) -> list[dict[str, Any]]:
    """Values over many jobs, flat: one dict per value with job, kind, labels. Filters as `jobs.page`."""
    query = select(ResultValue, Job).join(Job, Job.id == ResultValue.job_id)
    query = query.where(*listing.conditions(principal, filters)).order_by(
        Job.submitted_at.desc(), Job.id, ResultValue.position
    )
    return [
        {
            "job": str(job.id),
            "kind": job.kind,
            "job_name": job.name,
            "state": str(job.state),
            "dataset": job.spec.get("dataset"),
            "labels": job.labels,
        }
        | _wide(value)
        for value, job in session.execute(query.limit(min(limit, MOST_VALUES)))
    ]


def attention(
    session: Session,
    job_id: UUID,
    principal: Principal,
    *,
    clip: str | None = None,
    modality: str | None = None,
    map: str | None = None,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Attention maps (API 4): artifacts of kind attention_* grouped by (clip, modality, map).

    Each: {clip, modality, map, **meta, "files": {"raw": sha256, "png": sha256, "mp4": sha256}}. Raises NotFound.
    """
    job = jobs.get(session, job_id, principal)
    asked = {"clip": clip, "modality": modality, "map": map}
    maps: dict[tuple[Any, ...], dict[str, Any]] = {}
    for artifact in artifacts.of_job(session, job.id):
        kind, _, form = artifact.kind.partition("_")
        if kind != "attention" or any(
            want is not None and artifact.meta.get(key) != want for key, want in asked.items()
        ):
            continue
        place = tuple(artifact.meta.get(key) for key in asked)
        one = maps.setdefault(place, {**dict(zip(asked, place, strict=True)), "files": {}})
        one |= {key: value for key, value in artifact.meta.items() if key not in one}
        one["files"][form] = artifact.sha256
    return list(maps.values())[:limit]


def _values(session: Session, job: Job) -> Sequence[ResultValue]:
    query = select(ResultValue).where(ResultValue.job_id == job.id).order_by(ResultValue.position)
    return session.scalars(query).all()


def _wide(value: ResultValue) -> dict[str, Any]:
    columns = ("name", "value", "unit", "n", "ci_low", "ci_high", *LABELS, *BESIDE)
    return {name: getattr(value, name) for name in columns}


def _artifact(artifact: Any) -> dict[str, Any]:
    columns = ("name", "kind", "media_type", "bytes", "sha256", "meta")
    return {"id": str(artifact.id)} | {name: getattr(artifact, name) for name in columns}


def _warnings(session: Session, job: Job) -> list[dict[str, str]]:
    """What it warned of, each once: an attempt that was restarted says it again."""
    told = select(JobEvent.data).where(JobEvent.job_id == job.id, JobEvent.type == "warning").order_by(JobEvent.seq)
    return list({data["message"]: data for data in session.scalars(told)}.values())


def _retried_by(session: Session, job: Job) -> str | None:
    query = select(Job.id).where(Job.retry_of == job.id).order_by(Job.submitted_at.desc()).limit(1)
    found = session.scalars(query).first()
    return str(found) if found else None
