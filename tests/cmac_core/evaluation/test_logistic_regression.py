"""Logistic regression against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import one_hot

from cmac_core.evaluation import logistic_regression
from cmac_core.evaluation.lbfgs import Loss, minimize
from cmac_core.evaluation.logistic_regression import Problem, fit


def blobs(rows: int, dim: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    features = 3 * torch.randn(rows, dim, generator=generator) + 5
    features[:, :classes] += 3 * one_hot(labels, classes)
    return features, labels


@pytest.mark.parametrize("l2", [1e-3, 1e-1, 1.0])
@pytest.mark.parametrize(("rows", "dim", "classes"), [(300, 20, 4), (80, 200, 3), (200, 10, 2)])
def test_probabilities_are_those_of_scikit_learn(rows: int, dim: int, classes: int, l2: float) -> None:
    features, labels = blobs(rows, dim, classes)
    ours = fit(features, labels, classes, l2)
    scaled = ours.scaling(features).double().numpy()
    if classes == 2:  # theirs has one row of weights for two classes, which is penalized half as much
        l2 = l2 / 2
    theirs = LogisticRegression(C=1 / (rows * l2), tol=1e-8, max_iter=5000).fit(scaled, labels.numpy())
    np.testing.assert_allclose(ours.log_probabilities(features).exp(), theirs.predict_proba(scaled), atol=1e-3)


def test_rows_too_many_to_turn_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(300, 20, 4)
    turned = fit(features, labels, 4, 1e-2)
    monkeypatch.setattr(logistic_regression, "LARGEST_TURN", 1)
    as_it_is = fit(features, labels, 4, 1e-2)
    torch.testing.assert_close(as_it_is.weight_CD, turned.weight_CD, atol=2e-3, rtol=0)


def test_features_that_go_together_take_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs(400, 6, 3)
    close = features.repeat(1, 20) + 0.1 * torch.randn(400, 120, generator=torch.Generator().manual_seed(1))
    calls: list[int] = []

    def counted(loss: Loss, x: Tensor, inverse: Tensor) -> Tensor:
        return minimize(lambda weights: calls.append(1) or loss(weights), x, inverse)

    monkeypatch.setattr(logistic_regression, "minimize", counted)
    fit(close, labels, 3, 1e-3)
    assert len(calls) < 60


def test_a_warm_start_does_not_change_the_answer() -> None:
    features, labels = blobs(300, 20, 4)
    problem = Problem(features, labels, 4)
    cold, warm = problem.fit(1e-2), problem.fit(1e-2, start=problem.fit(1.0))
    both = (classifier.log_probabilities(features).exp() for classifier in (warm, cold))
    torch.testing.assert_close(*both, atol=1e-3, rtol=0)


def test_a_constant_feature_is_harmless() -> None:
    features, labels = blobs(100, 8, 3)
    features[:, 5] = 0.1
    classifier = fit(features, labels, 3, 1e-2)
    assert classifier.weight_CD[:, 5].abs().max() < 1e-6
    assert classifier.log_probabilities(features).isfinite().all()


def test_a_class_without_a_row_gets_little_probability() -> None:
    features, labels = blobs(200, 8, 3)
    assert fit(features, labels, 4, 1e-2).log_probabilities(features)[:, 3].exp().max() < 0.1
