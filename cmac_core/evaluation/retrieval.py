"""Nearest neighbors by cosine: which videos of the gallery a query finds, and what chance would find."""

from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 512  # queries ranked at a time: their similarities should stay near the processor
SIFTED = 4  # columns of a row that are asked for their best one together


# Shape suffixes: Q queries, G gallery videos, D features, K neighbors kept.
class Ranking(NamedTuple):
    """The K nearest gallery videos of each query, best first."""

    neighbors_QK: Tensor  # int64
    similarity_QK: Tensor  # fp32


def rank(queries_QD: Tensor, gallery_GD: Tensor, k: int) -> Ranking:
    """Rank the gallery for each query by dot product in fp32, ties by index.

    Rows are to be unit vectors, or means of such, normalized again by the caller (METHOD 7.2).
    """
    assert 1 <= k <= len(gallery_GD), f"k = {k} of {len(gallery_GD)}"
    chunks = [_rank(chunk, gallery_GD, k) for chunk in queries_QD.float().split(ROWS)]
    return Ranking(torch.cat([n for n, _ in chunks]), torch.cat([s for _, s in chunks]))


def _rank(queries_QD: Tensor, gallery_GD: Tensor, k: int) -> Ranking:
    similarity_QG = queries_QD @ gallery_GD.float().T
    values_QK, found_QK = _largest(similarity_QG, min(k + 1, len(gallery_GD)))
    # Among equals at the border topk takes any: such rows are sorted in full.
    torn_Q = (values_QK[:, k - 1 : k] == values_QK[:, k:]).any(1)
    values_QK, found_QK = values_QK[:, :k], found_QK[:, :k]
    if torn_Q.any():
        values, found = similarity_QG[torn_Q].sort(dim=1, descending=True, stable=True)
        values_QK[torn_Q], found_QK[torn_Q] = values[:, :k], found[:, :k]
    found_QK, by_index = found_QK.sort(dim=1)
    values_QK, by_value = values_QK.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    return Ranking(found_QK.gather(1, by_value).cpu(), values_QK.cpu())


def _largest(rows_QG: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What `rows_QG.topk(k, dim=1)` gives, in half its time where rows are long.

    The k largest lie in the k sets of columns with the largest maxima: those are looked at, and columns left over.
    """
    sets = rows_QG.shape[1] // SIFTED
    if sets < 4 * k:
        values, found = rows_QG.topk(k, dim=1)
        return values, found
    maxima = rows_QG[:, : SIFTED * sets].unflatten(1, (SIFTED, sets)).amax(1)
    best_QK = _largest(maxima, k)[1]
    starts = torch.arange(0, SIFTED * sets, sets, device=rows_QG.device)
    over = torch.arange(SIFTED * sets, rows_QG.shape[1], device=rows_QG.device)
    looked_at = torch.cat([(best_QK[:, None] + starts[:, None]).flatten(1), over.expand(len(rows_QG), -1)], dim=1)
    values_QK, among = rows_QG.gather(1, looked_at).topk(k, dim=1)
    return values_QK, looked_at.gather(1, among)


def recall(ranking: Ranking, queries: Sequence[str], gallery: Sequence[str], k: int) -> float:
    """Share of all queries that have a video of their label among the k nearest."""
    ids = {label: i for i, label in enumerate(sorted({*queries, *gallery}))}
    query_Q = torch.tensor([ids[label] for label in queries])
    gallery_G = torch.tensor([ids[label] for label in gallery])
    hit_Q = (gallery_G[ranking.neighbors_QK[:, :k]] == query_Q[:, None]).any(1)
    return hit_Q.double().mean().item()


def chance_recall(queries: Sequence[str], gallery: Sequence[str], k: int) -> float:
    """Exact expectation of recall@k for a random order of the gallery.

    A query whose label has m videos among G misses with probability C(G - m, k) / C(G, k).
    """
    held, asked, size = Counter(gallery), Counter(queries), len(gallery)
    k = min(k, size)
    hits = sum(n * (1 - comb(size - held[label], k) / comb(size, k)) for label, n in asked.items())
    return hits / len(queries)
