"""Retrieval against brute force, against itself and against chance."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import normalize

from cmac_core.evaluation import retrieval
from cmac_core.evaluation.retrieval import chance_recall, rank, recall

KS = (1, 5, 10, 20, 50)


def unit(rows: int, dim: int = 16, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)))


def test_neighbors_are_those_of_numpy_and_of_scikit_learn() -> None:
    queries, gallery = unit(40, seed=1), unit(200, seed=2)
    found = rank(queries, gallery, 10).neighbors_QK.numpy()
    by_hand = np.argsort(-(queries @ gallery.T).numpy(), axis=1, kind="stable")[:, :10]
    theirs = NearestNeighbors(n_neighbors=10, metric="cosine").fit(gallery.numpy()).kneighbors(queries.numpy())[1]
    np.testing.assert_array_equal(found, by_hand)
    np.testing.assert_array_equal(found, theirs)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = unit(30, seed=1), unit(50, seed=2)
    whole = rank(queries, gallery, 5)
    monkeypatch.setattr(retrieval, "ROWS", 7)
    assert torch.equal(rank(queries, gallery, 5).neighbors_QK, whole.neighbors_QK)


@pytest.mark.parametrize("columns", [400, 403, 5000])
def test_in_long_rows_the_nearest_are_those_of_a_full_sort_though_many_are_equal(columns: int) -> None:
    gallery = unit(columns, dim=8, seed=2).mul(4).round().div(4)  # few values, many of them more than once
    queries = unit(20, dim=8, seed=1).mul(4).round()
    sorted_out = (queries @ gallery.T).sort(dim=1, descending=True, stable=True)
    ranking = rank(queries, gallery, 10)
    assert torch.equal(ranking.neighbors_QK, sorted_out.indices[:, :10])
    assert torch.equal(ranking.similarity_QK, sorted_out.values[:, :10])


def test_ties_are_broken_by_index() -> None:
    gallery = unit(1).repeat(100, 1)
    assert rank(unit(3), gallery, 4).neighbors_QK.tolist() == [[0, 1, 2, 3]] * 3


def test_a_set_against_itself_finds_itself() -> None:
    rows = unit(60)
    assert recall(rank(rows, rows, 1), [str(i) for i in range(60)], [str(i) for i in range(60)], 1) == 1.0


def test_recall_grows_with_k_and_counts_every_query() -> None:
    queries, gallery = unit(33, seed=3), unit(80, seed=4)
    labels = [str(i % 7) for i in range(80)]
    asked = [str(i % 7) for i in range(30)] + ["nowhere"] * 3
    ranking = rank(queries, gallery, 50)
    shares = [recall(ranking, asked, labels, k) for k in KS]
    assert shares == sorted(shares)
    assert shares[-1] <= 30 / 33


def test_random_features_are_near_chance() -> None:
    labels = [str(i % 8) for i in range(800)]
    ranking = rank(unit(800, seed=5), unit(800, seed=6), 5)
    for k in (1, 5):
        assert recall(ranking, labels, labels, k) == pytest.approx(chance_recall(labels, labels, k), abs=0.06)


def test_expected_chance_is_that_of_random_orders() -> None:
    gallery, queries = ["a"] * 3 + ["b"] * 7 + ["c"], ["a"] * 2 + ["b", "c", "d"]
    random = np.random.default_rng(0)
    for k in (1, 3, 11, 50):
        hits = [query in random.permutation(gallery)[:k] for query in queries for _ in range(4000)]
        assert np.mean(hits) == pytest.approx(chance_recall(queries, gallery, k), abs=0.015)
