"""A probe of frozen features: l2 chosen on training videos alone, then one fit, then one vote a video (METHOD 7.3)."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmac_core.evaluation.logistic_regression import Classifier, Problem


# Shape suffixes: V videos, n clips a video, D features, C classes.
class Probed(NamedTuple):
    """What a probe says of the test videos, and how it was regularized."""

    predicted_V: Tensor  # int64
    windows_Vn: Tensor  # int64: what each clip alone is taken for
    log_probabilities_VC: Tensor  # of the softmax averaged over a video's clips
    l2: float
    inner_accuracy: dict[float, float]  # of each candidate, over the inner folds


def probe(
    train_VnD: Tensor,
    labels_V: Tensor,
    test_VnD: Tensor,
    classes: int,
    *,
    groups: Sequence[Hashable],
    candidates: Sequence[float],
    inner_folds: int,
    seed: int,
) -> Probed:
    """Choose l2 on the training videos, fit on all of them, and classify the test videos."""
    folds_V = inner_division(groups, labels_V.tolist(), inner_folds, seed)
    accuracy, l2 = choose_l2(train_VnD, labels_V, classes, folds_V, candidates)
    log_VnC = say(problem_of(train_VnD, labels_V, classes).fit(l2), test_VnD)
    votes_VC = average(log_VnC)
    return Probed(votes_VC.argmax(1), log_VnC.argmax(2), votes_VC, l2, accuracy)


def inner_division(groups: Sequence[Hashable], labels: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """An inner fold for each training video. Groups stay together; classes are spread, as far as groups allow.

    With fewer groups than folds there is a fold a group. Raises ValueError for a single group.
    """
    members: dict[Hashable, list[int]] = {}
    for video, group in enumerate(groups):
        members.setdefault(group, []).append(video)
    folds = min(folds, len(members))
    if folds < 2:
        raise ValueError("all training clips are of one group, so no l2 can be chosen without splitting it")
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = [list(members.values())[i] for i in order]
    # Dealt out class by class like cards, so that each fold sees each class.
    shuffled.sort(key=lambda videos: Counter(labels[v] for v in videos).most_common(1)[0][0])
    division = np.empty(len(labels), dtype=np.int64)
    for i, videos in enumerate(shuffled):
        division[videos] = i % folds
    return division


def choose_l2(
    rows_VnD: Tensor, labels_V: Tensor, classes: int, folds_V: np.ndarray, candidates: Sequence[float]
) -> tuple[dict[float, float], float]:
    """Accuracy of each candidate over the inner folds, and the best; of equals the more likely one."""
    hits = dict.fromkeys(sorted(candidates, reverse=True), 0)
    likelihood = dict.fromkeys(hits, 0.0)
    for fold in np.unique(folds_V):
        held_V = torch.from_numpy(folds_V == fold).to(rows_VnD.device)
        held_labels_V, classifier = labels_V[held_V], None
        problem = problem_of(rows_VnD[~held_V], labels_V[~held_V], classes)
        for l2 in hits:  # from stiff to loose, each starting where the last one ended
            classifier = problem.fit(l2, classifier)
            votes_VC = vote(classifier, rows_VnD[held_V])
            hits[l2] += int((votes_VC.argmax(1) == held_labels_V).sum())
            likelihood[l2] += float(votes_VC.gather(1, held_labels_V[:, None]).sum())
    best = max(hits, key=lambda l2: (hits[l2], likelihood[l2]))
    return {l2: hit / len(labels_V) for l2, hit in hits.items()}, best


def problem_of(rows_VnD: Tensor, labels_V: Tensor, classes: int) -> Problem:
    """One row for each clip, each with its video's label."""
    return Problem(rows_VnD.flatten(0, 1), labels_V.repeat_interleave(rows_VnD.shape[1]), classes)


def vote(classifier: Classifier, rows_VnD: Tensor) -> Tensor:
    """Log of the softmax averaged over the clips of each video, (V, C)."""
    return average(say(classifier, rows_VnD))


def say(classifier: Classifier, rows_VnD: Tensor) -> Tensor:
    """Log of the softmax of each clip, (V, n, C)."""
    return classifier.log_probabilities(rows_VnD.flatten(0, 1)).unflatten(0, rows_VnD.shape[:2])


def average(log_VnC: Tensor) -> Tensor:
    """Log of the mean over clips of a softmax that is given by its log, (V, C)."""
    return torch.logsumexp(log_VnC, 1) - np.log(log_VnC.shape[1])


def chance_accuracy(train: Sequence[str], test: Sequence[str], k: int = 1) -> float:
    """Of who always names the k most frequent training classes, drawn among equals: k / classes when balanced."""
    counts = Counter(train)
    least = sorted(counts.values(), reverse=True)[min(k, len(counts)) - 1]
    sure = {label for label, n in counts.items() if n > least}
    drawn = {label for label, n in counts.items() if n == least}
    hits = sum(label in drawn for label in test) * (min(k, len(counts)) - len(sure)) / len(drawn)
    return (sum(label in sure for label in test) + hits) / len(test)
