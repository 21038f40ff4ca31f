"""Multinomial logistic regression by L-BFGS: convex, so the answer does not depend on how it was found."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cmac_core.evaluation.lbfgs import minimize


# Shape suffixes: N rows, D features, C classes.
class Scaling(NamedTuple):
    """Mean and standard deviation of each feature on training rows; constant features are left at 0."""

    mean_D: Tensor
    std_D: Tensor

    def __call__(self, rows_ND: Tensor) -> Tensor:
        return (rows_ND - self.mean_D) / self.std_D


def scaling(rows_ND: Tensor) -> Scaling:
    """What standardizes these rows: to be computed on training data alone."""
    std_D = rows_ND.std(0, correction=0)
    # A feature that is constant up to rounding must not be blown up to noise.
    floor = 1e-6 * rows_ND.abs().amax(0).clamp_min(1e-6)
    return Scaling(rows_ND.mean(0), torch.where(std_D > floor, std_D, torch.ones_like(std_D)))


class Classifier(NamedTuple):
    """Weights of standardized features, and a bias that is not penalized."""

    scaling: Scaling
    weight_CD: Tensor
    bias_C: Tensor

    def log_probabilities(self, rows_ND: Tensor) -> Tensor:
        """(N, C) log softmax."""
        return F.log_softmax(F.linear(self.scaling(rows_ND), self.weight_CD, self.bias_C), dim=1)


def fit(rows_ND: Tensor, labels_N: Tensor, classes: int, l2: float, start: Classifier | None = None) -> Classifier:
    """Minimize mean cross entropy + l2 / 2 · |W|²: scikit-learn's `LogisticRegression(C=1 / (N · l2))`.

    `start` is a fit on the same rows with another l2; it saves steps and does not change the answer.
    """
    scale = start.scaling if start else scaling(rows_ND)
    rows_ND = scale(rows_ND)
    target_NC = F.one_hot(labels_N, classes).to(rows_ND.dtype)
    weight_CD = start.weight_CD.clone() if start else rows_ND.new_zeros(classes, rows_ND.shape[1])
    bias_C = start.bias_C.clone() if start else rows_ND.new_zeros(classes)
    weights = torch.cat([weight_CD, bias_C[:, None]], 1)

    def loss(weights: Tensor) -> tuple[float, Tensor]:
        # The gradient is written out: autograd's bookkeeping costs more than the two products.
        weight_CD, bias_C = weights[:, :-1], weights[:, -1]
        log_NC = F.log_softmax(F.linear(rows_ND, weight_CD, bias_C), dim=1)
        error_NC = (log_NC.exp() - target_NC) / len(rows_ND)
        gradient = torch.cat([error_NC.T @ rows_ND + l2 * weight_CD, error_NC.sum(0)[:, None]], 1)
        return float(-(log_NC * target_NC).sum() / len(rows_ND) + l2 / 2 * weight_CD.square().sum()), gradient

    weights = minimize(loss, weights)
    return Classifier(scale, weights[:, :-1].contiguous(), weights[:, -1].contiguous())
