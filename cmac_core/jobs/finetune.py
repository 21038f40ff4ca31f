"""Fine-tuning of the video encoder on a labeled dataset, and its test (METHOD 7.1; Tables 1 to 4)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cmac_core.data.dataset import Fold, PackedDataset
from cmac_core.data.loader import Cut, Loader
from cmac_core.data.log_mel import LogMel
from cmac_core.data.memory import GIGABYTE
from cmac_core.data.sampler import Sampler
from cmac_core.distributed import sync_running_stats
from cmac_core.evaluation.classification import accuracies, classify
from cmac_core.evaluation.confusion import keep_confusion
from cmac_core.evaluation.material import folds_of, labels_of, open_material
from cmac_core.evaluation.showing import Preparation, Showing
from cmac_core.evaluation.subject import NO_MEL, encoder_of, lineage_of
from cmac_core.events import Result
from cmac_core.objectives.classification import UNKNOWN, Classification
from cmac_core.specs import AudioFrontEnd, ClipSampling, Finetune, RandomInit
from cmac_core.specs.clips import ColorJitter
from cmac_core.specs.references import CHECKPOINT, DATASET
from cmac_core.training.checkpoint import load_encoders, random_encoders, read_state
from cmac_core.training.data_parallel import data_parallel, in_channels_last
from cmac_core.training.errors import UserError
from cmac_core.training.generators import seed_all
from cmac_core.training.kernels import take_norm
from cmac_core.training.optimizer import sgd
from cmac_core.training.precision import make_ready
from cmac_core.training.ranks import Ranks
from cmac_core.training.report import common_protocol, common_values, keep_plot
from cmac_core.training.resume import resume_point, step_of
from cmac_core.training.run import Run
from cmac_core.training.saving import Saving
from cmac_core.training.schedule import Schedule
from cmac_core.training.state import check_same, restore, spec_sha256
from cmac_core.training.trainer import Trainer, pace_of
from cmac_core.training.views import Views


@dataclass(frozen=True)
class Task:
    """What is to be told apart, and how the clips are divided."""

    spec: Finetune
    dataset: PackedDataset
    labels: list[str]
    classes: list[str]
    fold: Fold


@dataclass(frozen=True)
class Start:
    """The encoder that is trained on, how its pixels are normalized, and where it comes from."""

    encoder: nn.Module
    channels: int
    pixels: ClipSampling
    lineage: dict[str, Any]


def run(spec: Finetune, run: Run, ranks: Ranks) -> None:
    """Train on the training clips, from the start or from where the run goes on; then test what came out last."""
    resume = resume_point(run)
    run.start(spec, None if resume is None else step_of(resume))
    task = _task(spec, run)
    check_batch(spec, run.world_size, len(task.fold.train))
    make_ready(spec.precision, run.device)
    seed_all(spec.seed, run.rank)
    start = _start(spec, run)
    objective = _objective(task, start).to(run.device)
    objective = in_channels_last(objective).train()
    trainer = _trainer(task, start, objective, run, ranks)
    state = None if resume is None else read_state(resume, (Classification.FORMAT,))
    trainer.norm = take_norm(run, objective, trainer.schedule.total_steps, state)
    # Wrapped first: the wrapper gives all ranks rank 0's buffers, and each has its own to go on with.
    objective.wrap_network(lambda network: data_parallel(network, run.device))
    if state is not None:
        check_same(spec, state, task.dataset.summary.manifest_sha256)
        restore(trainer, state)
    trainer.fit()
    sync_running_stats(objective)
    trainer.finish()
    if run.rank == 0:
        _test(task, start, objective, trainer)


def _task(spec: Finetune, run: Run) -> Task:
    dataset = open_material(run, run.input(DATASET), spec.where, ["video"])
    labels = labels_of(dataset.clips, spec.label)
    (fold,) = folds_of(run, dataset.clips, labels, spec.split, spec.seed)
    classes = sorted({labels[i] for i in (*fold.train, *fold.test)})
    if len({labels[i] for i in fold.train}) < 2:
        raise UserError(
            f"split: all {len(fold.train)} training clips have {spec.label} = {labels[fold.train[0]]!r}",
            "There must be two classes at least to be told apart.",
        )
    return Task(spec, dataset, labels, classes, fold)


def check_batch(spec: Finetune, ranks: int, videos: int) -> None:
    """BN groups must fill each rank's share (RULINGS 4), and a pass must have a step. Raises UserError."""
    batch, unit, clips = spec.optim.batch, ranks * spec.bn_group, videos * spec.train_clips
    if batch % ranks or (batch % unit and not (ranks == 1 and batch < spec.bn_group)):
        legal = sorted({max(batch // unit, 1) * unit, (batch // unit + 1) * unit})
        raise UserError(
            f"optim.batch: {batch} clips on {ranks} ranks are no multiple of bn_group, {spec.bn_group}, on each",
            f"Set optim.batch to {' or '.join(map(str, legal))}, or bn_group to a divisor of {max(batch // ranks, 1)}.",
        )
    if clips < batch:
        raise UserError(
            f"optim.batch: a step takes {batch} clips, and a pass has only {clips}: "
            f"{videos} training videos x train_clips {spec.train_clips}",
            f"Set optim.batch to {clips} or less, or raise train_clips.",
        )


def _start(spec: Finetune, run: Run) -> Start:
    """The encoder of the checkpoint, or one as initialized from the seed: the row "scratch"."""
    if isinstance(spec.checkpoint, RandomInit):
        model = spec.checkpoint.model
        encoder, lineage = encoder_of(random_encoders(model, spec.seed), "video"), {"checkpoint": "random_init"}
        return Start(encoder, model.channels, ClipSampling(), lineage)
    path: Path = run.input(CHECKPOINT)
    trained = load_encoders(path)
    encoder = encoder_of(trained, "video")
    return Start(encoder, trained.model.channels, trained.pixels, lineage_of(trained, path))


def _objective(task: Task, start: Start) -> Classification:
    targets = [UNKNOWN] * len(task.dataset.clips)
    for i in task.fold.train:
        targets[i] = task.classes.index(task.labels[i])
    return Classification(task.spec, start.encoder, start.channels, targets, task.classes)


def _trainer(task: Task, start: Start, objective: Classification, run: Run, ranks: Ranks) -> Trainer:
    spec, optim, geometry = task.spec, task.spec.optim, task.spec.geometry
    videos = task.fold.train
    sampler = Sampler(len(videos) * spec.train_clips, optim.batch, spec.seed)
    total = sampler.steps * optim.epochs
    return Trainer(
        run=run,
        ranks=ranks,
        objective=objective,
        optimizer=sgd(objective.groups(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay),
        schedule=schedule_of(spec, sampler.steps),
        loader=Loader(
            task.dataset,
            videos,
            sampler,
            Cut(geometry.frames, geometry.fps, AudioFrontEnd().sample_rate, video=True, audio=False),
            rank=run.rank,
            ranks=run.world_size,
            workers=spec.data.workers,
            retry_chain=spec.data.retry_chain,
            pin=run.device.type == "cuda",
            memory_bytes=spec.data.memory_gb * GIGABYTE,
        ),
        sampler=sampler,
        views=Views(_sampling(spec, start.pixels), AudioFrontEnd(), NO_MEL, spec.seed, run.device),
        saving=Saving(run, spec.checkpoints, spec_sha256(spec)),
        precision=spec.precision,
        clips=optim.batch,
        pace=pace_of(sampler.steps, total, len(videos), spec.data.max_bad_share),
    )


def schedule_of(spec: Finetune, steps: int) -> Schedule:
    """The learning rate over passes of `steps` steps."""
    return Schedule(
        peak=spec.optim.lr,
        warmup_steps=round(spec.optim.warmup_epochs * steps),
        total_steps=spec.optim.epochs * steps,
        shape="step",
        milestones=tuple(passes * steps for passes in spec.optim.milestones),
        gamma=spec.optim.gamma,
    )


def _sampling(spec: Finetune, pixels: ClipSampling) -> ClipSampling:
    """Augmentation of training clips, normalized as in the pretraining."""
    return ClipSampling(
        fps=spec.geometry.fps,
        frames=spec.geometry.frames,
        crop=spec.geometry.crop,
        short_side=spec.data.short_side,
        hflip=spec.data.hflip,
        mean=pixels.mean,
        std=pixels.std,
        color_jitter=ColorJitter(**spec.color_jitter.model_dump()),
    )


def _test(task: Task, start: Start, objective: Classification, trainer: Trainer) -> None:
    """Publish what the last train_epoch left: accuracy, who is taken for whom, and how the training went."""
    spec, run = task.spec, trainer.run
    seconds = spec.geometry.frames / spec.geometry.fps
    showing = Showing(spec.geometry, seconds, AudioFrontEnd().sample_rate, video=True, audio=False)
    prepare = Preparation(showing, LogMel(AudioFrontEnd()), NO_MEL, start.pixels, run.device)
    softmax = classify(run, task.dataset, objective.network, spec, prepare, task.fold.test)
    truth = [task.labels[i] for i in task.fold.test]
    guesses = [task.classes[c] for c in softmax.argmax(1).tolist()]
    title = f"Fine-tuning on {spec.label} of {spec.dataset}"
    keep_confusion(run, title, spec.label, truth, guesses, task.classes)
    keep_plot(trainer)
    values = accuracies(softmax, task.fold, task.labels, task.classes)
    lineage = start.lineage | {"manifest_sha256": task.dataset.summary.manifest_sha256, "finetune_seed": spec.seed}
    protocol = _protocol(task, trainer)
    run.emit(Result(values=(*values, *common_values(trainer, "train")), protocol=protocol, lineage=lineage))


def _protocol(task: Task, trainer: Trainer) -> dict[str, Any]:
    spec, fold = task.spec, task.fold
    return {
        "metric": "accuracy",
        "average": "softmax over the clips and crops of a video",
        "selection": "the last train_epoch",
        "classifier": "linear, orthogonal at the start, on the mean of the last stage",
        **spec.geometry.model_dump(),
        "train_clips": spec.train_clips,
        "n_clips": spec.n_clips,
        "spatial_crops": spec.spatial_crops,
        "color_jitter": spec.color_jitter.model_dump(),
        "label": spec.label,
        "classes": len(task.classes),
        "split": spec.split.model_dump(exclude_none=True),
        "where": spec.where,
        "sizes": {"train": len(fold.train), "test": len(fold.test)},
        "optim": spec.optim.model_dump(mode="json"),
        "bn_group": spec.bn_group,
        "chance": "always the most frequent training classes",
        **common_protocol(trainer),
    }
