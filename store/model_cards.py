"""A checkpoint's model card: what its job was asked for, and what evaluations found since."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cmac_core.model_card import ModelCard, Score
from cmac_core.specs.differences import differences
from store import results
from store.keys import Principal
from store.states import JobState
from store.tables import LABELS, Attempt, Checkpoint, Job, Result, ResultValue

MAKERS = ("pretrain", "import")
_ABOUT = ("audio", "pixels", "mel")


def model_card(session: Session, checkpoint: Checkpoint, principal: Principal) -> ModelCard:
    """Everything the database knows of it; evaluations of projects that the principal may see."""
    job = session.get_one(Job, checkpoint.job_id)
    lineage = results.lineage(session, job)
    result = session.get(Result, job.id)
    about = {"checkpoint": str(checkpoint.id), "sha256": checkpoint.sha256, "step": checkpoint.step}
    code = {"git": lineage["git_sha"], "lock": lineage["lock_sha256"], "versions": lineage["versions"]}
    data, settings, changed = _imported(job, result) if job.kind == "import" else _trained(job, checkpoint, lineage)
    return ModelCard(
        title=job.name or f"Encoders of {job.kind} {str(job.id)[:8]}",
        about=about | _networks(job, result),
        data=data,
        settings={"job": str(job.id), **settings},
        code=code,
        changed=changed,
        scores=_scores(session, checkpoint, principal),
    )


def _networks(job: Job, result: Result | None) -> dict[str, Any]:
    said = result.protocol if result and job.kind == "import" else {}
    model = said.get("model") or job.spec.get("model", {})
    return {"encoders": said.get("encoders"), "model": model} | {name: said.get(name) for name in _ABOUT}


def _trained(job: Job, checkpoint: Checkpoint, lineage: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    spec, dataset = job.spec, lineage.get("dataset", {})
    data = {"dataset": dataset.get("name"), "manifest": dataset.get("manifest_sha256")}
    settings = {name: spec.get(name) for name in ("objective", "preset", "scale", "seed")}
    settings |= {"train_epochs": checkpoint.train_epoch, "train_epochs in all": spec.get("optim", {}).get("epochs")}
    settings |= {"started from": lineage.get("init_checkpoint"), "spec_sha256": job.spec_sha256}
    return data | {"only clips with": spec.get("where")}, settings, differences(spec)


def _imported(job: Job, result: Result | None) -> tuple[dict[str, Any], ...]:
    origin = (result.lineage if result else {}).get("imported", {})
    data = {"origin": "imported; the file does not say what it was trained on, unless told below"}
    settings = {"source": job.spec.get("source"), "layout": origin.get("layout"), "sha256": origin.get("sha256")}
    return data, settings | {"of": origin.get("of")}, {}


def _scores(session: Session, checkpoint: Checkpoint, principal: Principal) -> list[Score]:
    """Values of evaluations whose newest attempt read this checkpoint and succeeded, oldest first."""
    read = Attempt.inputs["checkpoint"]["id"].astext == str(checkpoint.id)
    query = select(Job, ResultValue).join(Attempt, (Attempt.job_id == Job.id) & (Attempt.epoch == Job.epoch))
    query = query.join(ResultValue, ResultValue.job_id == Job.id)
    query = query.where(read, Job.state == JobState.succeeded, Job.kind.not_in(MAKERS))
    if principal.project is not None:
        query = query.where(Job.project == principal.project)
    ordered = query.order_by(Job.submitted_at, Job.id, ResultValue.position)
    return [_score(job, value) for job, value in session.execute(ordered)]


def _score(job: Job, value: ResultValue) -> Score:
    labels = [f"{name} {found}" for name in LABELS if (found := getattr(value, name)) is not None]
    interval = ""
    if value.ci_low is not None and value.ci_high is not None:
        interval = f" ({value.ci_low:.1f} to {value.ci_high:.1f})"
    return Score(
        evaluation=f"{job.kind} on {job.spec.get('dataset')}",
        name=", ".join([value.name, *labels]),
        value=_number(value.value, value.unit) + interval,
        n=value.n,
        random_init=_number(value.random_init, value.unit),
        chance=_number(value.chance, value.unit),
        job=str(job.id)[:8],
    )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.1f} %" if unit == "%" else f"{value:.4g} {unit}".strip()
