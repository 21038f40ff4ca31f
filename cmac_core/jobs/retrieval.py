"""Video retrieval: test queries look for training videos of their class (METHOD 7.2, Table 5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import normalize

from cmac_core.data.dataset import Fold, PackedDataset
from cmac_core.evaluation.features import Reduction, extract
from cmac_core.evaluation.material import folds_of, labels_of, open_material
from cmac_core.evaluation.plots import draw_recall
from cmac_core.evaluation.retrieval import Ranking, chance_recall, rank, recall
from cmac_core.evaluation.subject import RANDOM, subject
from cmac_core.evaluation.values import over_folds, share
from cmac_core.events import Result, Value
from cmac_core.specs import Retrieval
from cmac_core.specs.references import DATASET
from cmac_core.training.run import Run


def run(spec: Retrieval, run: Run) -> None:
    """Extract features once, rank each fold, and report recall beside random init and chance."""
    dataset = open_material(run, run.input(DATASET), spec.where, ["video"])
    labels = labels_of(dataset.clips, spec.label)
    folds = folds_of(run, dataset.clips, labels, spec.split, spec.seed)
    seconds = spec.geometry.frames / spec.geometry.fps
    who = subject(run, spec.checkpoint, "video", dataset, spec.geometry, seconds, spec.seed)
    views = who.views(spec.pool, spec.precision)
    features = extract(run, dataset, spec.n_clips, spec.batch, who.prepare, views, MEAN_DIRECTION)
    ks = _possible(run, spec.k, folds)
    values: list[Value] = []
    for pool in spec.pool:
        ours, random = (features[f"{name}/{pool}"] for name in (who.of_ours, RANDOM))
        for fold in folds:
            ranking, beside = (_rank(rows, fold, ks) for rows in (ours, random))
            values += _values(fold, labels, ks, pool, ranking, beside)
            _keep_ranks(run, dataset, labels, fold, pool, ranking)
    summaries = over_folds(values)
    _draw(run, spec, summaries or values, ks)
    run.emit(Result(values=(*summaries, *values), protocol=_protocol(spec, dataset, folds), lineage=who.lineage))


def _mean_direction(clips_nD: Tensor) -> Tensor:
    """Clips normalized, averaged, and normalized again: a dot product is then the cosine."""
    return normalize(normalize(clips_nD).mean(0), dim=0)


MEAN_DIRECTION = Reduction("mean direction", _mean_direction)


def _possible(run: Run, ks: Sequence[int], folds: Sequence[Fold]) -> list[int]:
    """Different k in rising order; those beyond the smallest gallery find everything, which is said."""
    smallest = min(len(fold.train) for fold in folds)
    if beyond := [k for k in ks if k > smallest]:
        run.warn(
            "k_over_gallery",
            f"k: {', '.join(map(str, beyond))}: the gallery has {smallest} videos only, all of which then count",
        )
    return sorted(set(ks))


def _rank(rows: Tensor, fold: Fold, ks: Sequence[int]) -> Ranking:
    return rank(rows[fold.test], rows[fold.train], min(max(ks), len(fold.train)))


def _values(
    fold: Fold, labels: Sequence[str], ks: Sequence[int], pool: str, ranking: Ranking, beside: Ranking
) -> list[Value]:
    queries, gallery = [labels[i] for i in fold.test], [labels[i] for i in fold.train]
    return [
        share(
            f"r@{k}",
            recall(ranking, queries, gallery, k),
            len(queries),
            random_init=recall(beside, queries, gallery, k),
            chance=chance_recall(queries, gallery, k),
            fold=fold,
            pool=pool,
            modality="video",
        )
        for k in ks
    ]


def _keep_ranks(
    run: Run, dataset: PackedDataset, labels: Sequence[str], fold: Fold, pool: str, ranking: Ranking
) -> None:
    """Who found whom, for further study: indices into the gallery, with ids and labels of both sides."""
    name = f"ranks-{pool}" + (f"-fold-{fold.name}" if fold.name else "") + ".npz"
    path = run.folder / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    ids = np.array([clip.id for clip in dataset.clips])
    np.savez_compressed(
        path,
        query_id=ids[fold.test],
        query_label=np.array(labels)[fold.test],
        gallery_id=ids[fold.train],
        gallery_label=np.array(labels)[fold.train],
        neighbors=ranking.neighbors_QK.numpy().astype(np.int32),
        similarity=ranking.similarity_QK.numpy(),
    )
    run.artifact(name, "ranks", "application/x-npz", path, {"pool": pool, "fold": fold.name})


def _draw(run: Run, spec: Retrieval, values: Sequence[Value], ks: Sequence[int]) -> None:
    path = run.folder / "artifacts" / "recall.png"
    curves: dict[str, dict[str, list[float]]] = {}
    for pool in spec.pool:
        of_pool = {v.name: v for v in values if v.pool == pool}
        points = [of_pool[f"r@{k}"] for k in ks]
        curves[pool] = {
            "ours": [v.value for v in points],
            "random init": [v.random_init or 0.0 for v in points],
            "chance": [v.chance or 0.0 for v in points],
        }
    draw_recall(path, f"Video retrieval on {spec.dataset}, by {spec.label}", curves, ks, values[0].n)
    run.artifact("recall.png", "plot", "image/png", path)


def _protocol(spec: Retrieval, dataset: PackedDataset, folds: Sequence[Fold]) -> dict[str, Any]:
    return {
        "metric": "cosine",
        "feature": "last stage",
        "pools": list(spec.pool),
        "n_clips": spec.n_clips,
        **spec.geometry.model_dump(),
        "query": "test",
        "gallery": "train",
        "label": spec.label,
        "split": spec.split.model_dump(exclude_none=True),
        "where": spec.where,
        "sizes": {fold.name or "all": {"query": len(fold.test), "gallery": len(fold.train)} for fold in folds},
        "clips": len(dataset.clips),
        "chance": "expectation of a random order of the gallery",
        "random_init": f"the same networks as initialized with seed {spec.seed}",
    }
