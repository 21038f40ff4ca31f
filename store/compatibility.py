"""Whether the things that a spec names are there and go together: found out at submit, not hours later."""

from typing import TYPE_CHECKING

from sqlalchemy import select

from cmac_core.experiments.cost import videos_per_step
from cmac_core.specs import (
    Attention,
    Finetune,
    Import,
    JobCheckpoint,
    Pack,
    Pretrain,
    Probe,
    RandomInit,
    Retrieval,
    StoredCheckpoint,
)
from cmac_core.specs.references import CheckpointReference
from store import datasets
from store.errors import Incompatible, InvalidSpec, UnknownReference
from store.made import Made, encoders_of
from store.references import References
from store.states import FINAL, CheckpointState, JobState
from store.tables import Dataset, Job

if TYPE_CHECKING:
    from store.submission import Findings, Resolved

Reader = Pretrain | Retrieval | Probe | Attention | Finetune  # kinds that read a dataset


def find_parents(references: References, resolved: "Resolved", found: "Findings") -> None:
    """Jobs that this one waits for: those it names under queue.after."""
    for place, after in enumerate(resolved.spec.queue.after):
        job = references.parents[after.job]
        pointer = f"/queue/after/{place}/job"
        if job is None:
            found.add(UnknownReference, pointer, "there is no such job", str(after.job))
            continue
        if after.kind == "afterok" and job.state in FINAL and job.state is not JobState.succeeded:
            found.add(Incompatible, pointer, f"that job has {job.state}; nothing will follow it", str(after.job))
        resolved.parents[after.job] = after.kind


def check_references(references: References, resolved: "Resolved", found: "Findings") -> None:
    """Dataset and checkpoint of a spec that reads them."""
    spec = resolved.spec
    assert not isinstance(spec, Pack | Import)
    resolved.dataset = references.datasets[spec.dataset]
    if resolved.dataset is None:
        told, tip = no_dataset(references, spec.dataset)
        found.add(UnknownReference, "/dataset", told, spec.dataset, tip)
    else:
        _check_dataset(spec, resolved.dataset, found)
    if isinstance(spec, Pretrain):
        if resolved.dataset is not None:
            _check_enough(spec, resolved.dataset, found)
        _warn(spec, resolved)
        if spec.init is not None:
            maker = _find_checkpoint(references, spec.init, "/init", resolved, found)
            if maker is not None:
                _check_start(spec, references.made[maker], found)
        return
    maker = _find_checkpoint(references, spec.checkpoint, "/checkpoint", resolved, found)
    if maker is not None:
        _check_architecture(spec, references.made[maker], found)
    if isinstance(spec, Attention) and isinstance(spec.checkpoint, RandomInit):
        message = "attention maps need a trained model; the evaluation itself shows the untrained one beside it"
        found.add(Incompatible, "/checkpoint", message)


def divides(spec: Pretrain | Finetune, ranks: int) -> bool:
    """Whether every rank gets whole BN groups."""
    return spec.optim.batch % (ranks * _together(spec)) == 0


def _together(spec: Pretrain | Finetune) -> int:
    return spec.bn_group if isinstance(spec, Finetune) else spec.together


def check_batch(spec: Pretrain | Finetune, ranks: int, found: "Findings") -> None:
    """Batch / ranks must be a multiple of bn_group (RULINGS 4): then any number of ranks is the same method."""
    if divides(spec, ranks):
        return
    batch, group = spec.optim.batch, _together(spec)
    step = ranks * group
    below, above = batch // step * step, (batch // step + 1) * step
    nearest = f"{below} or {above}" if below else f"{above}"
    fewer = [n for n in range(ranks, 0, -1) if divides(spec, n)]
    grouped = isinstance(spec, Finetune) or spec.model.group is not None
    groups = [n for n in range(group, 1, -1) if batch % (ranks * n) == 0 and grouped]
    ways = [f"optim.batch {nearest}"]
    field = "bn_group" if isinstance(spec, Finetune) else "model.bn_group"
    ways += [f"{field} {groups[0]}"] if groups else []
    ways += [f"{fewer[0]} device{'s' if fewer[0] > 1 else ''}"] if fewer else []
    each = f"bn_group {group}" if grouped else f"{group} clips"
    message = f"batch {batch} on {ranks} ranks is not a multiple of {ranks} x {each} = {step}"
    found.add(InvalidSpec, "/optim/batch", message, batch, f"legal: {', or '.join(ways)}")


def no_dataset(references: References, reference: str) -> tuple[str, str]:
    """What to say of a dataset that is not there: message and hint."""
    session, principal = references.session, references.principal
    name = reference.partition("@")[0]
    packing = select(Job).where(Job.kind == "pack", Job.state.not_in(FINAL), Job.spec["dataset"].astext == name)
    job = session.scalars(packing.limit(1)).first()
    if job is not None and principal.sees(job.project):
        return f"there is no dataset {reference!r} yet", f"job {job.id} is packing it: wait for its end"
    known = sorted({one.name for one in datasets.listed(session, principal)})
    newest = references.datasets[name]
    if newest is not None:
        return f"there is no dataset {reference!r}", f"the newest is {newest.reference}"
    hint = f"known: {', '.join(known[:20])}" if known else "none is packed yet: submit a pack job, or cmac dataset add"
    return f"there is no dataset {reference!r}", hint


def clips_for(spec: Reader, dataset: Dataset) -> int:
    """How many clips of a dataset a job may use at most, as far as its counts tell."""
    clips = dataset.with_audio if _needs_sound(spec) else dataset.clips
    part = spec.where.get("split")
    return clips if part is None else min(clips, dataset.counts.get(part, 0))


def _check_dataset(spec: Reader, dataset: Dataset, found: "Findings") -> None:
    name = dataset.reference
    if _needs_sound(spec) and dataset.with_audio == 0:
        found.add(Incompatible, "/dataset", f"{name} has no sound, and this {_told(spec)} needs it", spec.dataset)
    if _needs_picture(spec) and dataset.media != "video":
        found.add(Incompatible, "/dataset", f"{name} is sound alone, and this {_told(spec)} needs video", spec.dataset)
    for chosen in spec.where:
        _check_column(dataset, f"/where/{chosen}", chosen, found)
    if isinstance(spec, Retrieval | Probe | Finetune):
        _check_column(dataset, "/label", spec.label, found)
        for pointer, column in (
            ("/split/column", spec.split.by_column),
            ("/split/folds", spec.split.folds),
            ("/split/group", spec.split.group),
        ):
            if column is not None:
                _check_column(dataset, pointer, column, found)
        if spec.split.by_column == "split" and dataset.counts:
            for part in ("train", "test"):
                value = getattr(spec.split, part)
                if value not in dataset.counts:
                    message = f"{name} has no clips of split {value!r}; it has {', '.join(sorted(dataset.counts))}"
                    found.add(Incompatible, f"/split/{part}", message, value)


def _check_enough(spec: Pretrain, dataset: Dataset, found: "Findings") -> None:
    clips, taken = clips_for(spec, dataset), videos_per_step(spec)
    if clips < taken and not found.problems:
        message = f"a step takes {taken} videos, and {dataset.reference} has {clips} that may be shown"
        hint = "a smaller batch, with a model.bn_group that divides it, or a larger dataset"
        found.add(InvalidSpec, "/optim/batch", message, spec.optim.batch, hint)


def _check_column(dataset: Dataset, pointer: str, column: str, found: "Findings") -> None:
    if column in dataset.labels or (column == "split" and dataset.counts):
        return
    has = ", ".join(sorted(dataset.labels)) or "none"
    hint = "without one: split {seeded: 0.8}" if pointer == "/split/column" else None
    found.add(Incompatible, pointer, f"{dataset.reference} has no column {column!r}; it has {has}", column, hint)


def _needs_sound(spec: Reader) -> bool:
    match spec:
        case Pretrain():
            return spec.objective != "single_v"
        case Probe():
            return spec.modality == "audio"
        case Attention():
            return True
        case Retrieval() | Finetune():
            return False


def _needs_picture(spec: Reader) -> bool:
    match spec:
        case Pretrain():
            return spec.objective != "single_a"
        case Probe():
            return spec.modality == "video"
        case Attention() | Retrieval() | Finetune():
            return True


def _told(spec: Reader) -> str:
    match spec:
        case Pretrain():
            return f"pretraining ({spec.objective})"
        case Probe():
            return f"{spec.modality} probe"
        case _:
            return spec.kind


def _find_checkpoint(
    references: References, reference: CheckpointReference, pointer: str, resolved: "Resolved", found: "Findings"
) -> Job | None:
    """The job that makes, or made, the checkpoint; naming a job adds the edge by itself."""
    if isinstance(reference, StoredCheckpoint):
        checkpoint = references.checkpoints[reference.id]
        job = references.makers[checkpoint.job_id] if checkpoint else None
        if checkpoint is None or job is None or not references.principal.sees(job.project):
            found.add(UnknownReference, f"{pointer}/id", "there is no such checkpoint", str(reference.id))
            return None
        if checkpoint.state is not CheckpointState.ok:
            message, hint = f"that checkpoint is {checkpoint.state}", f"name another one of job {checkpoint.job_id}"
            found.add(UnknownReference, f"{pointer}/id", message, str(reference.id), hint)
        if job.kind == "finetune":
            message = "that checkpoint is of a fine-tuning; give that of a pretraining"
            found.add(Incompatible, f"{pointer}/id", message, str(reference.id))
        resolved.checkpoint_id = checkpoint.id
        return job
    if isinstance(reference, JobCheckpoint):
        job = references.parents[reference.job]
        if job is None:
            found.add(UnknownReference, f"{pointer}/job", "there is no such job", str(reference.job))
        elif job.kind not in ("pretrain", "import"):
            message = f"that job is a {job.kind}; only a pretrain and an import make checkpoints"
            found.add(Incompatible, f"{pointer}/job", message, str(reference.job))
        elif job.state in FINAL and job.state is not JobState.succeeded:
            message = f"that job has {job.state} and will leave no checkpoint"
            hint = "retry it, or name one of its checkpoints: {id: ...}"
            found.add(Incompatible, f"{pointer}/job", message, str(reference.job), hint)
        elif job.state is JobState.succeeded and references.left[job] is None:
            message = "that job's last checkpoint was removed"
            found.add(Incompatible, f"{pointer}/job", message, str(reference.job), "train it again")
        else:
            resolved.checkpoint_job = job.id
            resolved.parents[job.id] = "afterok"
            return job
    return None


def _check_architecture(spec: Retrieval | Probe | Attention | Finetune, by: Made, found: "Findings") -> None:
    """Whether there is what the evaluation looks at."""
    needs = {spec.modality} if isinstance(spec, Probe) else {"video"}
    if isinstance(spec, Attention):
        needs = {"video", "audio"}
        if by.attends is None:
            message = "imported weights are encoders alone, and attention maps need what a pretraining grows on them"
            found.add(Incompatible, "/checkpoint", message)
        elif not by.attends:
            message = "that pretraining has loss.lambda_ac 0: it learned no attention"
            found.add(Incompatible, "/checkpoint", message)
    for lacks in sorted(needs - by.encoders):
        message = f"{by.what}: it has no trained {lacks} encoder, which this {_told(spec)} needs"
        found.add(Incompatible, "/checkpoint", message)


def _check_start(spec: Pretrain, by: Made, found: "Findings") -> None:
    """Whether the networks that a pretraining starts from are the ones it trains."""
    wanted = spec.model.model_dump(include={"video", "audio", "width", "depth"})
    for name, value in wanted.items():
        if by.model.get(name, value) != value:
            message = f"the checkpoint under init has {by.model[name]}; a pretraining starts from equal networks alone"
            found.add(Incompatible, f"/model/{name}", message, value, f"set it to {by.model[name]}")
    trains = encoders_of(spec.objective)
    if not trains & by.encoders:
        has = ", ".join(sorted(by.encoders))
        message = f"{by.what}: it has {has} alone, and this {_told(spec)} trains {', '.join(sorted(trains))}"
        found.add(Incompatible, "/init", message)


def _warn(spec: Pretrain, resolved: "Resolved") -> None:
    clips = resolved.dataset.clips if resolved.dataset else 0
    if clips and spec.contrastive.use and clips / 2 < spec.moco.K:
        message = f"{spec.moco.K} keys are more than half of the {clips:,} clips: most negatives repeat"
        resolved.warnings.append(("/moco/K", message))
