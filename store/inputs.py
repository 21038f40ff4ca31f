"""What a job reads, as paths and hashes for one attempt. The stored spec names it; here it is looked up."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cmac_core.specs.references import CACHE, CHECKPOINT, DATASET, OUTPUT, PACKED, RESUME, SOURCE, WEIGHTS
from store import made, roots, shards
from store.settings import settings
from store.states import CheckpointState
from store.tables import Checkpoint, Dataset, Job

File = dict[str, str | None]
CACHED = ("retrieval", "probe")  # kinds that look at features of frozen networks


class Inputs(NamedTuple):
    files: dict[str, File]  # key -> {path, sha256}: what stands in inputs.json
    kept: dict[str, File]  # the same with ids: what the attempt's row remembers
    resume_checkpoint: UUID | None
    resume_step: int | None
    problem: str | None  # something is gone


def resolve(session: Session, job: Job) -> Inputs:
    """Look up dataset, checkpoint, source, output and the place to resume from."""
    kept: dict[str, File] = {}
    problem: str | None = None
    if job.dataset_id is not None:
        dataset = session.get_one(Dataset, job.dataset_id)
        kept[DATASET] = {"id": str(dataset.id), "path": dataset.path, "sha256": dataset.manifest_sha256}
    resume = session.get(Checkpoint, job.resume_checkpoint) if job.resume_checkpoint else None
    if job.checkpoint_id is not None or job.checkpoint_job is not None:
        checkpoint = _checkpoint(session, job)
        if checkpoint is not None:
            kept[CHECKPOINT] = _file(checkpoint)
        elif resume is None or job.kind != "pretrain":  # a pretraining that goes on has all it needs
            problem = "the checkpoint that this job reads is gone or broken"
    if job.kind in CACHED:
        kept[CACHE] = {"path": str(settings().features_dir), "sha256": None}
    if job.kind == "pack":
        kept[OUTPUT] = _packed(job.id)
        for number, before in enumerate(_packed_before(session, job)):
            kept[f"{PACKED}{number}"] = _packed(before)
        source = job.spec["source"]
        if "root" in source:
            try:
                kept[SOURCE] = {"path": str(roots.resolve(session, source["root"], source["path"])), "sha256": None}
            except ValueError as error:
                problem = f"source: {error}"
    if job.kind == "import":
        source = job.spec["source"]
        try:
            kept[WEIGHTS] = {"path": str(roots.resolve_file(session, source["root"], source["path"])), "sha256": None}
        except ValueError as error:
            problem = f"source: {error}"
    if resume is not None:
        kept[RESUME] = _file(resume)
    files = {key: {"path": file["path"], "sha256": file["sha256"]} for key, file in kept.items()}
    return Inputs(files, kept, resume.id if resume else None, resume.step if resume else None, problem)


def _packed(job_id: UUID) -> File:
    return {"path": str(settings().datasets_dir / str(job_id)), "sha256": None}


def _packed_before(session: Session, job: Job) -> list[UUID]:
    """Packs whose clips this one takes over: the shards it merges, then those that it is a retry of."""
    found = [shards.newest(session, UUID(shard["job"])) for shard in job.spec.get("merge", ())]
    before = job.retry_of
    while before is not None:
        if (settings().datasets_dir / str(before)).is_dir():
            found.append(before)
        before = session.get_one(Job, before).retry_of
    return found


def _checkpoint(session: Session, job: Job) -> Checkpoint | None:
    if job.checkpoint_id is None:
        return made.left_by(session, session.get_one(Job, job.checkpoint_job))
    good = select(Checkpoint).where(Checkpoint.id == job.checkpoint_id, Checkpoint.state == CheckpointState.ok)
    return session.scalar(good)


def _file(checkpoint: Checkpoint) -> File:
    return {"id": str(checkpoint.id), "path": checkpoint.path, "sha256": checkpoint.sha256}
