"""The probe keeps test data and training data apart."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cmac_core.evaluation.confusion import confusion
from cmac_core.evaluation.logistic_regression import fit
from cmac_core.evaluation.probe import chance_accuracy, inner_division, probe, vote

L2 = (1e-3, 1e-1, 10.0)


def videos(count: int, clips: int = 3, dim: int = 12, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clips of one video lie together; videos of one class lie less close."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    features = torch.randn(count, 1, dim, generator=generator) + 0.3 * torch.randn(
        count, clips, dim, generator=generator
    )
    features[:, :, :classes] += 1.5 * torch.nn.functional.one_hot(labels, classes)[:, None]
    return features, labels


def test_groups_are_never_divided() -> None:
    groups = [i // 5 for i in range(60)]
    division = inner_division(groups, [i % 3 for i in range(60)], 4, seed=1)
    for group in set(groups):
        assert len({int(fold) for fold, g in zip(division, groups, strict=True) if g == group}) == 1


def test_single_videos_are_spread_over_folds_class_by_class() -> None:
    labels = [i % 4 for i in range(80)]
    division = inner_division(range(80), labels, 4, seed=1)
    counts = [[sum(division[i] == f and labels[i] == c for i in range(80)) for c in range(4)] for f in range(4)]
    assert counts == [[5] * 4] * 4


def test_as_many_groups_as_folds_are_a_fold_each() -> None:
    division = inner_division(["1", "2", "3", "5"] * 10, [i % 3 for i in range(40)], 4, seed=0)
    assert sorted(set(division.tolist())) == [0, 1, 2, 3]


def test_a_single_group_is_refused() -> None:
    with pytest.raises(ValueError, match="one group"):
        inner_division(["x"] * 8, [0, 1] * 4, 4, seed=0)


def test_the_probe_learns_what_can_be_learnt() -> None:
    train, labels = videos(120)
    test, truth = videos(60, seed=1)
    probed = probe(train, labels, test, 3, groups=range(120), candidates=L2, inner_folds=4, seed=0)
    assert (probed.predicted_V == truth).double().mean() > 0.65
    assert probed.l2 in L2
    assert set(probed.inner_accuracy) == set(L2)


def test_l2_is_chosen_before_test_videos_are_looked_at() -> None:
    train, labels = videos(60)
    test, _ = videos(30, seed=1)
    options = {"groups": range(60), "candidates": L2, "inner_folds": 3, "seed": 0}
    one = probe(train, labels, test, 3, **options)
    other = probe(train, labels, test.flip(0) * 100, 3, **options)
    assert (one.l2, one.inner_accuracy) == (other.l2, other.inner_accuracy)


def test_clips_vote_by_the_mean_of_their_softmax() -> None:
    train, labels = videos(30)
    classifier = fit(train.flatten(0, 1), labels.repeat_interleave(3), 3, 1e-2)
    by_hand = torch.stack([classifier.log_probabilities(video).exp().mean(0) for video in train])
    torch.testing.assert_close(vote(classifier, train).exp(), by_hand)


def test_each_clip_is_told_apart_from_the_vote_of_its_video() -> None:
    train, labels = videos(60)
    test, truth = videos(30, seed=1)
    probed = probe(train, labels, test, 3, groups=range(60), candidates=(1e-2,), inner_folds=3, seed=0)
    classifier = fit(train.flatten(0, 1), labels.repeat_interleave(3), 3, 1e-2)
    alone = torch.stack([classifier.log_probabilities(video).argmax(1) for video in test])
    torch.testing.assert_close(probed.windows_Vn, alone)
    # Noise of single clips averages out: the vote is the better one.
    assert (probed.predicted_V == truth).double().mean() >= (alone == truth[:, None]).double().mean()


def test_chance_is_the_most_frequent_training_class() -> None:
    assert chance_accuracy(["a"] * 5 + ["b"] * 3, ["a", "b", "b", "b"]) == 0.25
    assert chance_accuracy(["a", "b", "c", "d"], ["a", "b", "b", "b"]) == 0.25


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    table = confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    np.testing.assert_array_equal(table, [[1, 1], [0, 1]])
