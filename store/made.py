"""What a job makes for others: its checkpoint, and what that holds as far as the job tells; no file is opened here."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.states import CheckpointState
from store.tables import Checkpoint, Job, Result

_TRAINED = {"single_v": frozenset({"video"}), "single_a": frozenset({"audio"})}
BOTH = frozenset({"video", "audio"})


class Made(NamedTuple):
    """What is known of a checkpoint by the job that makes it. Stored specs may be older than this code."""

    what: str  # in words: "that pretraining is single_v"
    encoders: frozenset[str]
    model: dict[str, Any]  # members of specs.method.Model; empty where nobody knows yet
    attends: bool | None  # whether it learned attention; None: it has encoders alone


def made(session: Session, job: Job) -> Made:
    """Of a pretraining or an import, also of one that has not ended."""
    if job.kind == "import":
        result = session.get(Result, job.id)
        said = result.protocol if result else {}
        # Before it has run, only torchvision's layout is known to lack something.
        likely = {"video"} if job.spec.get("layout") == "torchvision" else BOTH
        layout = said.get("layout") or job.spec.get("layout")
        return Made(f"that import is of {layout}", frozenset(said.get("encoders", likely)), said.get("model", {}), None)
    objective = job.spec.get("objective", "cmac")
    attends = objective != "cmac" or job.spec.get("loss", {}).get("lambda_ac") != 0
    return Made(f"that pretraining is {objective}", encoders_of(objective), job.spec.get("model", {}), attends)


def encoders_of(objective: str) -> frozenset[str]:
    """Modalities that an objective trains."""
    return _TRAINED.get(objective, BOTH)


def left_by(session: Session, job: Job) -> Checkpoint | None:
    """What others read that name the job: where a training would go on, or the weights that an import left."""
    if job.resume_checkpoint is not None:
        return session.get(Checkpoint, job.resume_checkpoint)
    weights = select(Checkpoint).where(
        Checkpoint.job_id == job.id, Checkpoint.kind == "weights", Checkpoint.state == CheckpointState.ok
    )
    return session.scalars(weights.order_by(Checkpoint.epoch.desc()).limit(1)).first()


def lock_named(session: Session, checkpoint_id: UUID) -> Checkpoint | None:
    """A checkpoint that a new job is about to name: it is not let go of until that job is there."""
    query = select(Checkpoint).where(Checkpoint.id == checkpoint_id).with_for_update(read=True)
    return session.scalar(query.execution_options(populate_existing=True))
