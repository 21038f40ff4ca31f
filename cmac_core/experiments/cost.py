"""What a job computes, counted from its shapes: steps, and floating-point operations of its convolutions (METHOD 3, 8).

Heads, losses and the front end are under 2 % and left out, as in METHOD 8. Two operations are one multiply-add.
"""

from typing import Any, NamedTuple

from cmac_core.experiments.paper import TRAINED
from cmac_core.specs import Attention, AudioFrontEnd, ClipGeometry, JobSpec, Pretrain, Probe, RandomInit, Retrieval
from cmac_core.specs.method import Model

PAPER_VIDEOS = 224_576  # Kinetics-400 with sound: 3,509 steps of 64 (Table 3)
# What a training step of 64 clips reached on an H200 in bf16 (docs/PERFORMANCE.md): 27 % of a large matrix product.
SUSTAINED = 2.1e14
ASSUMED = "210 TFLOP/s sustained on one GPU (a step of 64 clips in bf16 on an H200, clips at hand); not measured here"

FINETUNE = "finetune"
FORWARD_BACKWARD = 3  # a backward pass is two forward ones


class Cost(NamedTuple):
    """`flops` None: unknown, and `unknown` says why."""

    steps_per_epoch: int | None = None
    steps: int | None = None
    flops: float | None = None
    unknown: str = ""

    @property
    def gpu_hours(self) -> float | None:
        """At the assumed rate."""
        return None if self.flops is None else self.flops / SUSTAINED / 3600


def cost(spec: JobSpec, clips: int, model: Model) -> Cost:
    """Of a job over so many clips of its dataset; `model` is the one that an evaluation looks at."""
    if spec.kind == FINETUNE:
        return _finetune(spec, clips, model)
    match spec:
        case Pretrain():
            return _pretrain(spec, clips)
        case Retrieval():
            return Cost(flops=2 * clips * spec.n_clips * _sides(spec) * _video(spec.geometry, model))
        case Probe():
            one = _video(spec.geometry, model) if spec.modality == "video" else _audio(spec.seconds, model)
            return Cost(flops=2 * clips * spec.n_clips * _sides(spec) * one)
        case Attention():
            shown = min(clips, spec.limit) + min(clips, spec.score_limit)
            seconds = spec.geometry.frames / spec.geometry.fps
            both = _video(spec.geometry, model) + _audio(seconds, model)
            return Cost(flops=2 * shown * _sides(spec) * both)
        case _:
            return Cost(unknown=f"nobody has counted what a {spec.kind} computes")


def videos_per_step(spec: Pretrain) -> int:
    """A step with within-modal positives holds two clips of each of half as many videos (A15)."""
    return spec.optim.batch // 2 if spec.contrastive.wi_pos else spec.optim.batch


def video_macs(frames: int, side: int, width: int = 64, depth: int = 2, stages: int = 4) -> int:
    """Multiply-adds of R(2+1)D-18's forward pass on one clip of `frames` x `side` x `side` (METHOD 3.1)."""
    time, cells, stem = frames, _halved(side), max(45 * width // 64, 1)
    total = time * cells**2 * (stem * 3 * 49 + width * stem * 3)
    inputs = width
    for stage, outputs in enumerate(width * 2**n for n in range(stages)):
        stride = 1 if stage == 0 else 2
        for block in range(depth):
            before, step = time, stride if block == 0 else 1
            time, cells = _strided(time, step), _strided(cells, step)
            middle = 27 * inputs * outputs // (9 * inputs + 3 * outputs)
            area = cells**2
            total += before * area * middle * inputs * 9 + time * area * outputs * middle * 3
            total += time * area * (middle * outputs * 9 + outputs * middle * 3)
            total += time * area * outputs * inputs if step != 1 else 0
            inputs = outputs
    return total


def audio_macs(seconds: float, width: int = 64, stages: int = 4, front_end: AudioFrontEnd | None = None) -> int:
    """Multiply-adds of ResNet-9's forward pass on the log-mel picture of one clip (METHOD 3.2)."""
    front_end = front_end or AudioFrontEnd()
    hop, window = (round(length * front_end.sample_rate) for length in (front_end.hop, front_end.win))
    rows, columns = front_end.n_mels, max((round(seconds * front_end.sample_rate) - window) // hop + 1, 1)
    rows, columns = _halved(rows), _halved(columns)
    total = rows * columns * width * 49
    rows, columns = _halved(rows), _halved(columns)
    inputs = width
    for stage, outputs in enumerate(width * 2**n for n in range(stages)):
        stride = 1 if stage == 0 else 2
        rows, columns = _strided(rows, stride), _strided(columns, stride)
        total += rows * columns * outputs * (9 * inputs + 9 * outputs + (inputs if stride != 1 else 0))
        inputs = outputs
    return total


def _pretrain(spec: Pretrain, videos: int) -> Cost:
    per_epoch = videos // videos_per_step(spec)
    steps = per_epoch * spec.optim.epochs
    one = 0
    if spec.objective != "single_a":
        one += video_macs(spec.data.frames, spec.data.crop, spec.model.width, spec.model.depth, spec.model.stages)
    if spec.objective != "single_v":
        one += _audio(spec.data.seconds, spec.model, spec.audio)
    passes = FORWARD_BACKWARD + (1 if spec.contrastive.use else 0)  # the key model's forward pass
    return Cost(per_epoch, steps, 2.0 * one * passes * steps * spec.optim.batch)


def _finetune(spec: Any, clips: int, model: Model) -> Cost:
    """Forward and backward on the training clips of every pass, then forward on those of the test (METHOD 7.1)."""
    trained = trained_of(spec, clips)
    per_epoch = trained * spec.train_clips // spec.optim.batch
    steps = per_epoch * spec.optim.epochs
    shown = FORWARD_BACKWARD * steps * spec.optim.batch + (clips - trained) * spec.n_clips * spec.spatial_crops
    return Cost(per_epoch, steps, 2.0 * shown * _video(spec.geometry, model))


def trained_of(spec: Any, clips: int) -> int:
    """Training videos of a split: the official number where the name says which, else 7 of 10."""
    official = TRAINED.get((spec.dataset.partition("@")[0], spec.split.column))
    return min(official, clips) if official is not None else round(0.7 * clips)


def _sides(spec: Retrieval | Probe | Attention) -> int:
    """Ours and the same networks untrained; one of them when ours are untrained too."""
    return 1 if isinstance(spec.checkpoint, RandomInit) else 2


def _video(geometry: ClipGeometry, model: Model) -> int:
    return video_macs(geometry.frames, geometry.crop, model.width, model.depth, model.stages)


def _audio(seconds: float, model: Model, front_end: AudioFrontEnd | None = None) -> int:
    return audio_macs(seconds, model.width, model.stages, front_end)


def _halved(length: int) -> int:
    """What a stride of 2 with "same" padding leaves."""
    return _strided(length, 2)


def _strided(length: int, stride: int) -> int:
    return (length - 1) // stride + 1
