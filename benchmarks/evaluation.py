"""Retrieval and linear probe against scikit-learn: the same answers, and not much slower."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from benchmarks.rounds import Comparison, compare
from cmac_core.evaluation.logistic_regression import fit
from cmac_core.evaluation.retrieval import rank


def retrieval(rounds: int) -> Comparison:
    """1,000 queries in a gallery of 4,000, 512 features, 50 neighbours."""
    generator = torch.Generator().manual_seed(0)
    gallery, queries = (
        torch.nn.functional.normalize(torch.randn(n, 512, generator=generator), dim=1) for n in (4000, 1000)
    )
    index = NearestNeighbors(n_neighbors=50, algorithm="brute", metric="cosine").fit(gallery.numpy())
    theirs = index.kneighbors(queries.numpy(), return_distance=False)
    same = np.mean(theirs == rank(queries, gallery, 50).neighbors_QK.numpy())
    assert same > 0.999, f"only {same:.4f} of the neighbours agree"
    return compare(
        "retrieval",
        lambda: rank(queries, gallery, 50),
        lambda: index.kneighbors(queries.numpy()),
        work=1000,
        unit="queries/s",
        rounds=rounds,
    )


def probe(rounds: int) -> Comparison:
    """4,000 rows of 512 features in 20 classes."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 512, generator=generator)
    labels = torch.arange(4000) % 20
    rows = centres[labels] * 0.15 + torch.randn(4000, 512, generator=generator)
    scaled = ((rows - rows.mean(0)) / rows.std(0, correction=0)).numpy()
    l2 = 1e-2

    def theirs() -> LogisticRegression:
        return LogisticRegression(C=1 / (len(rows) * l2), max_iter=1000, tol=1e-5).fit(scaled, labels.numpy())

    agree = np.mean(fit(rows, labels, 20, l2).log_probabilities(rows).argmax(1).numpy() == theirs().predict(scaled))
    assert agree > 0.999, f"only {agree:.4f} of the predictions agree"
    return compare("linear probe", lambda: fit(rows, labels, 20, l2), theirs, work=1, unit="fits/s", rounds=rounds)
