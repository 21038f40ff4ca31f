"""Evaluations that share a cache: the same values to the bit, and nothing taken for what it is not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core.evaluation.feature_cache import SUFFIX, FeatureCache
from cmac_core.events import Progress, read
from cmac_core.training.run import Run
from tests.cmac_core.jobs.conftest import train
from tests.cmac_core.jobs.small_jobs import do, relabeled, result, trained, warnings

SMALL = {"n_clips": 2, "seconds": 0.5, "l2": [1e-3, 1e-1], "inner_folds": 2}
Evaluate = Callable[..., Run]


@pytest.fixture
def evaluate(small_set: Path, small_checkpoint: Path, tmp_path: Path) -> Evaluate:
    """`evaluate("name", kind, ...)`: an evaluation with the cache of this test."""

    def make(
        name: str, kind: str = "probe", dataset: Path = small_set, checkpoint: Path = small_checkpoint, **fields: Any
    ) -> Run:
        base = {"modality": "audio", **SMALL} if kind == "probe" else {}
        spec = trained(kind, **(base | fields))
        return do(tmp_path / name, spec, dataset=dataset, checkpoint=checkpoint, cache=tmp_path / "cache")

    return make


def entries(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache").glob(f"*{SUFFIX}")}


def looked(run: Run) -> bool:
    """Whether clips were shown to networks."""
    return any(isinstance(event, Progress) and event.phase == "features" for event in read(run.folder)[0])


def test_a_second_evaluation_gives_the_same_values_to_the_bit_and_looks_at_no_clip(
    small_set: Path, small_checkpoint: Path, tmp_path: Path, evaluate: Evaluate
) -> None:
    without = do(
        tmp_path / "x", trained("probe", modality="audio", **SMALL), dataset=small_set, checkpoint=small_checkpoint
    )
    assert not list(tmp_path.rglob(f"*{SUFFIX}"))  # nothing is kept where no folder is given
    first = evaluate("first")
    assert len(entries(tmp_path)) == 3  # ours, random init, simple
    second = evaluate("second")
    assert (looked(without), looked(first), looked(second)) == (True, True, False)
    one, two, three = (result(run) for run in (without, first, second))
    assert one.values == two.values == three.values
    assert one.protocol == two.protocol == three.protocol
    assert not warnings(second)


def test_another_protocol_is_computed_anew(tmp_path: Path, evaluate: Evaluate) -> None:
    """A seed is another random network alone; for another pool, and without new clips, the simple features stay."""
    evaluate("first")
    part = {"where": {"split": "train"}, "split": {"seeded": 0.5}}
    changes = [
        ({"n_clips": 1}, 3),
        ({"seconds": 0.6}, 3),
        ({"batch": 4}, 3),
        (part, 3),
        ({"pool": ["max13"]}, 2),
        ({"seed": 1}, 1),
    ]
    for number, (change, computed) in enumerate(changes):
        before = entries(tmp_path)
        assert looked(evaluate(str(number), **change)), change
        assert len(entries(tmp_path) - before) == computed, change


def test_another_checkpoint_shares_the_random_network_and_nothing_else(
    small_set: Path, tmp_path: Path, evaluate: Evaluate
) -> None:
    evaluate("first")
    before = entries(tmp_path)
    other = train(tmp_path / "trained", small_set, seed=5)
    assert looked(evaluate("second", checkpoint=other))
    assert len(entries(tmp_path) - before) == 1


def test_another_dataset_is_looked_at(small_set: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    evaluate("first")
    before = entries(tmp_path)
    renamed = relabeled(small_set, tmp_path / "set", note=lambda i: "x")
    assert looked(evaluate("second", dataset=renamed))
    assert len(entries(tmp_path) - before) == 3


def test_retrieval_keeps_one_direction_a_video(tmp_path: Path, evaluate: Evaluate) -> None:
    first = evaluate("first", "retrieval", n_clips=2, k=[1], pool=["gap"])
    probed = evaluate("second", modality="video", batch=8)  # of the same clips it keeps each
    assert looked(probed)
    again = evaluate("third", "retrieval", n_clips=2, k=[1, 5], pool=["gap"])
    assert not looked(again)
    assert result(first).values[0] == result(again).values[0]


def test_a_damaged_entry_is_computed_again_and_said(tmp_path: Path, evaluate: Evaluate) -> None:
    first = evaluate("first")
    (path, *_) = sorted((tmp_path / "cache").glob(f"*{SUFFIX}"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second = evaluate("second")
    assert path.name in warnings(second)["features_damaged"]
    assert looked(second)
    assert result(first).values == result(second).values
    assert path.read_bytes() == whole


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    rows = torch.arange(1000.0)
    with Run(tmp_path, {}) as run:
        FeatureCache(run, tmp_path).put({"n": 0}, rows)
        (entry,) = tmp_path.glob(f"*{SUFFIX}")
        cache = FeatureCache(run, tmp_path, limit=7 * entry.stat().st_size // 2)
        for number in range(3):
            cache.put({"n": number}, rows + number)
            for path in tmp_path.glob(f"*{SUFFIX}"):
                stat = path.stat()
                os.utime(path, (stat.st_atime - 10, stat.st_mtime - 10))
        assert cache.get({"n": 0}) is not None  # used just now
        cache.put({"n": 3}, rows + 3)
        found = [cache.get({"n": number}) for number in range(4)]
        assert [kept is not None for kept in found] == [True, False, True, True]
        assert found[3] is not None
        torch.testing.assert_close(found[3], rows + 3, rtol=0, atol=0)
        cache.put({"n": 4}, torch.zeros(10_000))  # larger than all there may be
        assert cache.get({"n": 4}) is None
        assert cache.get({"n": 3}) is not None
