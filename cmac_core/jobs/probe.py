"""Logistic regression on a frozen encoder's features, audio or video (METHOD 7.3, Table 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cmac_core.data.dataset import Fold, PackedDataset
from cmac_core.evaluation.baseline import NAME as SIMPLE
from cmac_core.evaluation.baseline import PICTURE, SOUND
from cmac_core.evaluation.confusion import keep_confusion
from cmac_core.evaluation.features import extract
from cmac_core.evaluation.material import folds_of, labels_of, open_material
from cmac_core.evaluation.probe import Probed, chance_accuracy, probe
from cmac_core.evaluation.subject import RANDOM, subject
from cmac_core.evaluation.values import over_folds, share
from cmac_core.events import Result, Value
from cmac_core.specs import Probe
from cmac_core.specs.references import DATASET
from cmac_core.training.run import Run


@dataclass(frozen=True)
class Task:
    """What is to be told apart, and how the clips are divided."""

    spec: Probe
    dataset: PackedDataset
    labels: list[str]
    classes: list[str]
    folds: list[Fold]

    def groups(self, videos: Sequence[int]) -> list[str]:
        """What stays together when training videos are divided: official folds, groups, or each video alone."""
        column = self.spec.split.folds or self.spec.split.group
        clips = [self.dataset.clips[i] for i in videos]
        groups = [clip.labels.get(column, clip.id) if column else clip.id for clip in clips]
        # Of two folds the training side is one: nothing is left to divide by but the videos.
        return groups if len(set(groups)) > 1 else [clip.id for clip in clips]

    def targets(self, videos: Sequence[int]) -> Tensor:
        """Class numbers."""
        return torch.tensor([self.classes.index(self.labels[i]) for i in videos])


def run(spec: Probe, run: Run) -> None:
    """Extract features once; probe ours, a random initialization and a simple baseline on each fold."""
    dataset = open_material(run, run.input(DATASET), spec.where, [spec.modality])
    labels = labels_of(dataset.clips, spec.label)
    folds = folds_of(run, dataset.clips, labels, spec.split, spec.seed)
    task = Task(spec, dataset, labels, sorted(set(labels)), folds)
    who = subject(run, spec.checkpoint, spec.modality, dataset, spec.geometry, spec.seconds, spec.seed)
    simple = SOUND if spec.modality == "audio" else PICTURE
    features = extract(
        run, dataset, spec.n_clips, spec.batch, who.prepare, [*who.views(spec.pool, spec.precision), simple]
    )
    probed = _probe_all(run, task, features)
    values: list[Value] = []
    for fold in folds:
        simply = probed[SIMPLE, fold.name]
        values.append(_value(task, fold, "simple_baseline_accuracy", None, simply, None))
        for pool in spec.pool:
            ours, random = (probed[f"{name}/{pool}", fold.name] for name in (who.of_ours, RANDOM))
            values.append(_value(task, fold, "accuracy", pool, ours, random))
            values.append(_of_windows(task, fold, pool, ours, random))
    for pool in spec.pool:
        _keep_confusion(run, task, pool, {fold.name: probed[f"{who.of_ours}/{pool}", fold.name] for fold in folds})
    run.emit(Result(values=(*over_folds(values), *values), protocol=_protocol(task, probed), lineage=who.lineage))


Probes = dict[tuple[str, str | None], Probed]  # by name of the features, and fold


def _probe_all(run: Run, task: Task, features: dict[str, Tensor]) -> Probes:
    probed: Probes = {}
    total = len(features) * len(task.folds)
    run.progress("probe", 0, total, "fits")
    for name in list(features):
        rows = features.pop(name)  # the widest take gigabytes
        for fold in task.folds:
            run.leave_if_asked()
            probed[name, fold.name] = _probe(task, fold, rows)
            run.progress("probe", len(probed), total, "fits")
    return probed


def _probe(task: Task, fold: Fold, rows: Tensor) -> Probed:
    return probe(
        rows[fold.train],
        task.targets(fold.train).to(rows.device),
        rows[fold.test],
        len(task.classes),
        groups=task.groups(fold.train),
        candidates=task.spec.l2,
        inner_folds=task.spec.inner_folds,
        seed=task.spec.seed,
    )


def _value(task: Task, fold: Fold, name: str, pool: str | None, ours: Probed, random: Probed | None) -> Value:
    train, test = ([task.labels[i] for i in side] for side in (fold.train, fold.test))
    return share(
        name,
        _accuracy(task, fold, ours),
        len(test),
        random_init=_accuracy(task, fold, random) if random else None,
        chance=chance_accuracy(train, test),
        fold=fold,
        pool=pool,
        modality=task.spec.modality,
    )


def _of_windows(task: Task, fold: Fold, pool: str, ours: Probed, random: Probed) -> Value:
    """Accuracy clip by clip. Clips of a file are no independent trials: the interval is that of so many files."""
    right = [
        (probed.windows_Vn.cpu() == task.targets(fold.test)[:, None]).double().mean().item()
        for probed in (ours, random)
    ]
    train, test = ([task.labels[i] for i in side] for side in (fold.train, fold.test))
    of_files = share(
        "window_accuracy",
        right[0],
        len(test),
        random_init=right[1],
        chance=chance_accuracy(train, test),
        fold=fold,
        pool=pool,
        modality=task.spec.modality,
    )
    return of_files.model_copy(update={"n": len(test) * task.spec.n_clips})


def _accuracy(task: Task, fold: Fold, probed: Probed) -> float:
    return (probed.predicted_V.cpu() == task.targets(fold.test)).double().mean().item()


def _keep_confusion(run: Run, task: Task, pool: str, probed: dict[str | None, Probed]) -> None:
    """Per-class accuracy and who was taken for whom, over the test videos of all folds."""
    truth = [task.labels[i] for fold in task.folds for i in fold.test]
    guesses = [task.classes[c] for fold in task.folds for c in probed[fold.name].predicted_V.tolist()]
    title = f"{task.spec.modality.capitalize()} probe of {task.spec.label} on {task.spec.dataset}, pool {pool}"
    keep_confusion(run, title, task.spec.label, truth, guesses, task.classes, pool)


def _protocol(task: Task, probed: Probes) -> dict[str, Any]:
    spec = task.spec
    video = {**spec.geometry.model_dump(), "seconds": spec.geometry.frames / spec.geometry.fps}
    return {
        "metric": "accuracy",
        "classifier": "multinomial logistic regression, L-BFGS, standardized on training clips",
        "average": "softmax over the clips of a video",
        "window_accuracy": "each clip by itself (METHOD 7.4); its interval counts files, not clips",
        "feature": "last stage",
        "modality": spec.modality,
        "pools": list(spec.pool),
        "n_clips": spec.n_clips,
        **(video if spec.modality == "video" else {"seconds": spec.seconds}),
        "label": spec.label,
        "classes": len(task.classes),
        "split": spec.split.model_dump(exclude_none=True),
        "where": spec.where,
        "sizes": {fold.name or "all": {"train": len(fold.train), "test": len(fold.test)} for fold in task.folds},
        "l2_candidates": list(spec.l2),
        "l2_chosen_on": f"{spec.inner_folds} inner folds of the training clips",
        "l2": [{"features": name, "fold": fold, "l2": found.l2} for (name, fold), found in probed.items()],
        "chance": "always the most frequent training class",
        "simple_baseline": "mean and deviation over time of log-mel bands (audio) or 32 x 24 frames (video)",
        "random_init": f"the same networks as initialized with seed {spec.seed}",
    }
