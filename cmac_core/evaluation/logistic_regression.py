"""Multinomial logistic regression by L-BFGS: convex, so the answer does not depend on how it was found."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cmac_core.evaluation.lbfgs import minimize

LARGEST_TURN = 3000  # principal axes of more rows and features than this cost more than they save


# Shape suffixes: N rows, D features, R of them turned, C classes.
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


class Problem:
    """Rows and labels of one fit, for any l2: standardized, and turned to their principal axes.

    Turning changes neither the loss nor the penalty. It makes the curvature nearly diagonal, so that the search
    knows it beforehand: features that go together (neighboring mel bands) take 20 steps and not 500.
    """

    def __init__(self, rows_ND: Tensor, labels_N: Tensor, classes: int) -> None:
        self.scaling = scaling(rows_ND)
        standard_ND = self.scaling(rows_ND)
        self.axes_DR = principal_axes(standard_ND)
        self.rows_NR = standard_ND @ self.axes_DR
        self.target_NC = F.one_hot(labels_N, classes).to(rows_ND.dtype)

    def fit(self, l2: float, start: Classifier | None = None) -> Classifier:
        """Minimize mean cross entropy + l2 / 2 · |W|²: scikit-learn's `LogisticRegression(C=1 / (N · l2))`.

        `start` is a fit of the same rows with another l2; it saves steps and does not change the answer.
        """
        rows_NR, target_NC = self.rows_NR, self.target_NC
        count, classes = target_NC.shape

        def loss(weights_CR: Tensor) -> tuple[float, Tensor]:
            # The gradient is written out: autograd's bookkeeping costs more than the two products.
            weight_CR, bias_C = weights_CR[:, :-1], weights_CR[:, -1]
            log_NC = F.log_softmax(F.linear(rows_NR, weight_CR, bias_C), dim=1)
            error_NC = (log_NC.exp() - target_NC) / count
            gradient = torch.cat([error_NC.T @ rows_NR + l2 * weight_CR, error_NC.sum(0)[:, None]], 1)
            return float(-(log_NC * target_NC).sum() / count + l2 / 2 * weight_CR.square().sum()), gradient

        softmax = (classes - 1) / classes**2  # its curvature where all classes are equally likely
        curvature_R = softmax * rows_NR.square().mean(0) + l2
        inverse_R = 1 / torch.cat([curvature_R, curvature_R.new_tensor([softmax])])
        weights = minimize(loss, self._start(start), inverse_R)
        return Classifier(self.scaling, weights[:, :-1] @ self.axes_DR.T, weights[:, -1].clone())

    def _start(self, start: Classifier | None) -> Tensor:
        if start is None:
            return self.rows_NR.new_zeros(self.target_NC.shape[1], self.rows_NR.shape[1] + 1)
        return torch.cat([start.weight_CD @ self.axes_DR, start.bias_C[:, None]], 1)


def principal_axes(rows_ND: Tensor) -> Tensor:
    """Orthonormal directions (D, R) that hold all but rounding of the rows; none is turned where that is too dear."""
    count, dim = rows_ND.shape
    if min(count, dim) > LARGEST_TURN:
        return torch.eye(dim, dtype=rows_ND.dtype, device=rows_ND.device)
    wide = dim > count
    gram = (rows_ND @ rows_ND.T if wide else rows_ND.T @ rows_ND).double()
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 1e-7 * values[-1].clamp_min(1e-12)
    axes = vectors[:, kept]
    if wide:
        axes = rows_ND.double().T @ axes / values[kept].sqrt()
    return axes.to(rows_ND.dtype)


def fit(rows_ND: Tensor, labels_N: Tensor, classes: int, l2: float) -> Classifier:
    """One fit; see `Problem`."""
    return Problem(rows_ND, labels_N, classes).fit(l2)
