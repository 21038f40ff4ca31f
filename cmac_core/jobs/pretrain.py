"""CMAC pretraining: clips of a packed dataset in, encoders that know what sounds out."""

import sys
from pathlib import Path

from cmac_core.data.dataset import PackedDataset, open_dataset
from cmac_core.data.eligible import Eligible, eligible
from cmac_core.data.front_end import fixed_scale
from cmac_core.data.loader import Cut, Loader
from cmac_core.data.memory import GIGABYTE
from cmac_core.data.sampler import Sampler
from cmac_core.events import Metrics
from cmac_core.objectives.cmac import Cmac, build_objective, clips_per_video, modalities, videos_per_step
from cmac_core.specs import AudioFrontEnd, Pretrain
from cmac_core.specs.method import Optimization
from cmac_core.specs.references import CHECKPOINT, DATASET
from cmac_core.training.checkpoint import read_state
from cmac_core.training.data_parallel import data_parallel, in_channels_last
from cmac_core.training.errors import UserError
from cmac_core.training.generators import seed_all
from cmac_core.training.initial import start_from
from cmac_core.training.kernels import take_norm
from cmac_core.training.optimizer import optimizer_of
from cmac_core.training.precision import make_ready
from cmac_core.training.ranks import Ranks
from cmac_core.training.report import publish
from cmac_core.training.resume import resume_point, step_of
from cmac_core.training.run import Run
from cmac_core.training.saving import Saving
from cmac_core.training.schedule import Schedule
from cmac_core.training.state import check_same, restore, spec_sha256
from cmac_core.training.trainer import Trainer, pace_of
from cmac_core.training.views import Views

PAPER_CLIPS = 224_576  # Kinetics-400 videos in the paper's Table 3


def run(spec: Pretrain, run: Run, ranks: Ranks) -> None:
    """Train from the spec's start, or from the checkpoint that the run goes on from, to the end."""
    resume = resume_point(run)
    run.start(spec, None if resume is None else step_of(resume))
    dataset = _open(spec, run)
    shown = _choose_clips(spec, run, dataset)
    make_ready(spec.precision, run.device)
    seed_all(spec.seed, run.rank)
    objective = in_channels_last(build_objective(spec).to(run.device)).train()
    trainer = _trainer(spec, run, ranks, dataset, shown, objective)
    state = None if resume is None else read_state(resume)
    trainer.norm = take_norm(run, objective, trainer.schedule.total_steps, state)
    if spec.init is not None and resume is None:
        trainer.init = start_from(run.input(CHECKPOINT), objective, run)
    # Wrapped first: the wrapper gives all ranks rank 0's buffers, and each has its own to go on with.
    objective.wrap_query(lambda query: data_parallel(query, run.device))
    if state is not None:
        check_same(spec, state, dataset.summary.manifest_sha256)
        restore(trainer, state)
    trainer.fit()
    publish(trainer, shown, trainer.finish())


def _trainer(
    spec: Pretrain, run: Run, ranks: Ranks, dataset: PackedDataset, shown: Eligible, objective: Cmac
) -> Trainer:
    video, audio = ("video" in modalities(spec)), ("audio" in modalities(spec))
    sampler = Sampler(len(shown.indices), videos_per_step(spec), spec.seed)
    total = sampler.steps * spec.optim.epochs
    return Trainer(
        run=run,
        ranks=ranks,
        objective=objective,
        optimizer=optimizer_of(spec, objective),
        schedule=schedule_of(spec.optim, sampler.steps),
        loader=Loader(
            dataset,
            shown.indices,
            sampler,
            Cut(spec.data.frames, spec.data.fps, spec.audio.sample_rate, video, audio),
            clips_per_video=clips_per_video(spec),
            same_window=spec.objective != "cmac" and spec.single.pair == "same_clip",
            rank=run.rank,
            ranks=run.world_size,
            workers=spec.data.workers,
            retry_chain=spec.data.retry_chain,
            pin=run.device.type == "cuda",
            memory_bytes=spec.data.memory_gb * GIGABYTE,
        ),
        sampler=sampler,
        views=Views(spec.data, spec.audio, _mel(dataset, run, spec), spec.seed, run.device),
        saving=Saving(run, spec.checkpoints, spec_sha256(spec)),
        precision=spec.precision,
        clips=videos_per_step(spec) * clips_per_video(spec),
        pace=pace_of(sampler.steps, total, len(shown.indices), spec.data.max_bad_share),
    )


def schedule_of(optim: Optimization, steps: int) -> Schedule:
    """The learning rate over passes of `steps` steps. A multiplier of 1 warms up from 0, a larger one from lr."""
    return Schedule(
        peak=optim.lr * optim.warmup_multiplier,
        warmup_steps=round(optim.warmup_epochs * steps),
        total_steps=optim.epochs * steps,
        shape=optim.schedule,
        start=optim.lr if optim.warmup_multiplier > 1 else 0.0,
        milestones=tuple(passes * steps for passes in optim.milestones),
        gamma=optim.gamma,
    )


def _open(spec: Pretrain, run: Run) -> PackedDataset:
    folder: Path = run.input(DATASET)
    try:
        return open_dataset(folder, spec.where)
    except ValueError as error:
        raise UserError(str(error), "Pack the dataset again, or name another one.") from error


def _choose_clips(spec: Pretrain, run: Run, dataset: PackedDataset) -> Eligible:
    """The clips that may be shown. Raises UserError when they do not do for this objective and this batch."""
    video, audio = ("video" in modalities(spec)), ("audio" in modalities(spec))
    shown = eligible(dataset, spec.data.frames / spec.data.fps, video, audio, spec.data.silent)
    if audio and not any(clip.has_audio for clip in dataset.clips):
        raise UserError(
            f"dataset: none of its {len(dataset.clips)} clips has sound, which objective {spec.objective} listens to",
            "Pack videos with sound, or set objective to single_v.",
        )
    if video and not any(clip.frames for clip in dataset.clips):
        raise UserError(
            f"dataset: its clips are sound alone, and objective {spec.objective} looks at video",
            "Pack videos, or set objective to single_a.",
        )
    _check_rate(spec, dataset, shown)
    _check_batch(spec, run.world_size, shown)
    if run.rank == 0:
        sys.stderr.write(f"{shown} (the paper: {PAPER_CLIPS:,})\n")
    values = {f"data/{name}": float(n) for name, n in shown._asdict().items() if name != "indices"}
    values |= {"data/clips": float(len(shown.indices)), "data/paper_clips": float(PAPER_CLIPS)}
    run.emit(Metrics(step=0, values=dict(values)))
    if spec.contrastive.use and len(shown.indices) // 2 < spec.moco.K:
        run.warn(
            "queue_too_long",
            f"moco.K: {spec.moco.K} keys are more than half of the {len(shown.indices)} clips, so many keys in the "
            "queues are old views of the batch's own clips; K of half the clips or less is better",
        )
    return shown


def _check_rate(spec: Pretrain, dataset: PackedDataset, shown: Eligible) -> None:
    rates = {dataset.clips[i].sample_rate for i in shown.indices if dataset.clips[i].has_audio}
    if "audio" in modalities(spec) and rates - {spec.audio.sample_rate}:
        raise UserError(
            f"audio.sample_rate: {spec.audio.sample_rate} Hz, but the clips are packed at {min(rates)} Hz",
            f"Set audio.sample_rate to {min(rates)}, or pack the dataset again.",
        )


def _check_batch(spec: Pretrain, ranks: int, shown: Eligible) -> None:
    """BN groups must fill each rank's share (RULINGS 4), and a pass must have a step. Raises UserError."""
    batch, group, clips = spec.optim.batch, spec.together, len(shown.indices)
    unit = ranks * group
    if batch % unit and not (ranks == 1 and batch < group):
        legal = sorted({max(batch // unit, 1) * unit, (batch // unit + 1) * unit})
        other = f", or model.bn_group to a divisor of {batch // ranks}" if spec.model.group else ""
        what = f"model.bn_group, {group}, on each" if spec.model.group else f"{group} on each"
        raise UserError(
            f"optim.batch: {batch} clips on {ranks} ranks are no multiple of {what}",
            f"Set optim.batch to {' or '.join(map(str, legal))}{other}.",
        )
    if videos_per_step(spec) > clips:
        fits = clips * batch // videos_per_step(spec) // unit * unit
        hint = (
            f"Set optim.batch to {fits} or less" if fits else f"Set optim.batch and model.bn_group to {clips} or less"
        )
        raise UserError(
            f"optim.batch: a step takes {videos_per_step(spec)} videos, and only {clips} may be shown ({shown})",
            f"{hint}, or pack more clips.",
        )


def _mel(dataset: PackedDataset, run: Run, spec: Pretrain) -> tuple[float, float]:
    """Mean and deviation of the dataset's log-mel pictures, as the pack found them; or those of the front end."""
    if "audio" not in modalities(spec):
        return 0.0, 1.0
    if (scale := fixed_scale(spec.audio)) is not None:
        return scale
    mean, std = dataset.summary.mel_mean, dataset.summary.mel_std
    if mean is None or std is None:
        raise UserError("dataset: it has no statistics of its sound (mel_mean, mel_std)", "Pack it again.")
    usual = AudioFrontEnd(specaug=spec.audio.specaug, volume_jitter=spec.audio.volume_jitter)
    if spec.audio != usual:
        run.warn("mel_statistics", "the dataset's mean and deviation of log-mel are those of the default front end")
    return mean, std
