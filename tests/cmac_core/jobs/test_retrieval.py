"""Retrieval from media files to numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmac_core.data.manifest import sha256_of
from cmac_core.evaluation.retrieval import chance_recall
from cmac_core.jobs import retrieval
from cmac_core.training.errors import DataError, Left, UserError
from cmac_core.training.inputs import Input
from cmac_core.training.run import Run
from tests.cmac_core.jobs.small_jobs import artifacts, close, do, named, relabeled, result, spec, trained, warnings


def test_a_checkpoint_is_compared_with_random_init_and_chance(
    small_set: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    run = do(tmp_path, trained("retrieval", n_clips=2), dataset=small_set, checkpoint=small_checkpoint)
    found = result(run)
    assert {(v.name, v.pool) for v in found.values} == {
        (f"r@{k}", pool) for k in (1, 5, 10, 20, 50) for pool in ("gap", "max222")
    }
    first = named(found.values, "r@1", pool="gap")
    assert (first.n, first.split, first.modality) == (12, "test", "video")
    assert first.random_init is not None
    assert first.chance == pytest.approx(100 * chance_recall(["a", "b"], ["a", "b"] * 10, 1))
    assert first.ci_low is not None
    assert first.ci_low < first.value < (first.ci_high or 0)
    assert found.lineage["checkpoint_sha256"] == sha256_of(small_checkpoint)
    assert named(found.values, "r@50", pool="gap").value == 100
    assert "20 videos" in warnings(run)["k_over_gallery"]


def test_features_and_ranks_are_the_same_every_time(small_set: Path, tmp_path: Path) -> None:
    runs = [do(tmp_path / name, spec("retrieval", n_clips=2, pool=["gap"]), dataset=small_set) for name in "ab"]
    one, two = (result(run) for run in runs)
    assert one.values == two.values
    paths = [run.folder / artifacts(run, "ranks")[0].path for run in runs]
    for path in paths:
        with np.load(path, allow_pickle=False) as ranks:
            assert ranks["neighbors"].shape == (12, 20)
            assert sorted(ranks["neighbors"][0]) == list(range(20))
            assert len(set(ranks["query_label"])) == 2
            assert not set(ranks["query_id"]) & set(ranks["gallery_id"])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_random_init_of_itself_is_itself(small_set: Path, tmp_path: Path) -> None:
    run = do(tmp_path, spec("retrieval", n_clips=1, k=[1], pool=["gap"]), dataset=small_set)
    assert all(v.value == v.random_init for v in result(run).values)
    with Image.open(run.folder / artifacts(run, "plot")[0].path) as picture:
        assert picture.format == "PNG"


def test_folds_are_reported_each_and_together(small_set: Path, tmp_path: Path) -> None:
    folded = relabeled(small_set, tmp_path / "set", fold=lambda i: str(i % 4))
    run = do(
        tmp_path / "run", spec("retrieval", n_clips=1, k=[1], pool=["gap"], split={"folds": "fold"}), dataset=folded
    )
    values = result(run).values
    each = [named(values, "r@1", fold=str(i)) for i in range(4)]
    assert named(values, "r@1", split="mean").value == pytest.approx(np.mean([v.value for v in each]))
    assert named(values, "r@1", split="mean").n == 32
    assert named(values, "r@1_std", split="mean").n == 4


def test_a_class_never_trained_on_is_said_and_counted_as_missed(small_set: Path, tmp_path: Path) -> None:
    odd = relabeled(small_set, tmp_path / "set", kind=lambda i: "new" if i == 0 else "old" if i % 2 else "other")
    split = {"column": "part", "train": "a", "test": "b"}
    odd = relabeled(odd, tmp_path / "odd", part=lambda i: "b" if i < 4 else "a")
    run = do(
        tmp_path / "run", spec("retrieval", n_clips=1, k=[28], pool=["gap"], label="kind", split=split), dataset=odd
    )
    assert "new" in warnings(run)["class_not_trained"]
    assert named(result(run).values, "r@28").value == 75


def test_a_missing_label_names_the_columns(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'species'.*class, split"):
        do(tmp_path, spec("retrieval", label="species"), dataset=small_set)


def test_a_missing_split_names_what_there_is(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split = 'dev'.*'test', 'train'"):
        do(tmp_path / "a", spec("retrieval", split={"test": "dev"}), dataset=small_set)
    with pytest.raises(UserError, match=r"no column 'fold'.*class, split"):
        do(tmp_path / "b", spec("retrieval", split={"folds": "fold"}), dataset=small_set)


def test_clips_without_a_label_are_named(small_set: Path, tmp_path: Path) -> None:
    bare = relabeled(small_set, tmp_path / "set", kind=lambda i: None if i == 3 else str(i % 2))
    with pytest.raises(UserError, match="1 clips have no kind"):
        do(tmp_path / "run", spec("retrieval", label="kind"), dataset=bare)


def test_sound_alone_cannot_be_looked_at(small_set: Path, tmp_path: Path) -> None:
    deaf = relabeled(small_set, tmp_path / "set", frames=lambda i: 0)
    with pytest.raises(UserError, match="sound alone"):
        do(tmp_path / "run", spec("retrieval"), dataset=deaf)


def test_a_clip_that_does_not_decode_is_named(small_set: Path, tmp_path: Path) -> None:
    broken = relabeled(small_set, tmp_path / "set", path=lambda i: f"clips/{'gone' if i == 5 else 'x'}.mkv")
    with pytest.raises(DataError, match=r"clips/x\.mkv"):
        do(tmp_path / "run", spec("retrieval"), dataset=broken)


def test_it_leaves_when_asked(small_set: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, {"dataset": Input(path=small_set)})
    run.stop.raised = True
    with pytest.raises(Left):
        retrieval.run(spec("retrieval", n_clips=1), run)
    close(run)
