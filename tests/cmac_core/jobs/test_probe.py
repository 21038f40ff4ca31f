"""Probes from media files to numbers."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from cmac_core.data.dataset import open_dataset
from cmac_core.jobs.probe import Task
from cmac_core.specs import Probe
from cmac_core.training.errors import UserError
from tests.cmac_core.jobs.conftest import train
from tests.cmac_core.jobs.small_jobs import artifacts, do, named, relabeled, result, spec, trained, warnings

SMALL = {"n_clips": 2, "seconds": 0.5, "l2": [1e-3, 1e-1], "inner_folds": 2}


def test_sound_is_probed_beside_random_init_a_simple_baseline_and_chance(
    small_set: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    probe = trained("probe", modality="audio", pool=["gap", "max13"], **SMALL)
    run = do(tmp_path, probe, dataset=small_set, checkpoint=small_checkpoint)
    found = result(run)
    assert {(v.name, v.pool) for v in found.values} == {
        ("accuracy", "gap"),
        ("accuracy", "max13"),
        ("window_accuracy", "gap"),
        ("window_accuracy", "max13"),
        ("simple_baseline_accuracy", None),
    }
    ours = named(found.values, "accuracy", pool="gap")
    assert (ours.n, ours.split, ours.modality, ours.chance) == (12, "test", "audio", 50)
    assert ours.random_init is not None
    assert named(found.values, "simple_baseline_accuracy").chance == 50
    assert {row["features"] for row in found.protocol["l2"]} == {
        "ours/gap",
        "ours/max13",
        "random_init/gap",
        "random_init/max13",
        "simple",
    }
    assert all(row["l2"] in (1e-3, 1e-1) for row in found.protocol["l2"])


def test_the_confusion_matrix_adds_up_to_the_accuracy(small_set: Path, tmp_path: Path) -> None:
    run = do(tmp_path, spec("probe", modality="video", **SMALL), dataset=small_set)
    accuracy = named(result(run).values, "accuracy")
    (table,) = artifacts(run, "table")
    with (run.folder / table.path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == ["6", "6"]
    right = sum(int(row[f"predicted {row['class']}"]) for row in rows)
    assert 100 * right / 12 == pytest.approx(accuracy.value)
    assert sum(float(row["accuracy_%"]) for row in rows) / 2 == pytest.approx(accuracy.value, abs=0.01)
    with Image.open(run.folder / artifacts(run, "plot")[0].path) as picture:
        assert picture.format == "PNG"


def test_official_folds_are_tested_once_each(small_set: Path, tmp_path: Path) -> None:
    folded = relabeled(small_set, tmp_path / "set", fold=lambda i: str(i % 4 + 1))
    run = do(tmp_path / "run", spec("probe", modality="audio", split={"folds": "fold"}, **SMALL), dataset=folded)
    values = result(run).values
    assert [named(values, "accuracy", fold=str(i)).n for i in (1, 2, 3, 4)] == [8] * 4
    mean = named(values, "accuracy", split="mean")
    assert mean.value == pytest.approx(sum(named(values, "accuracy", fold=str(i)).value for i in (1, 2, 3, 4)) / 4)
    assert named(values, "simple_baseline_accuracy_std", split="mean").n == 4


def test_files_are_scored_whole_and_window_by_window_by_the_protocol_of_scenes(small_set: Path, tmp_path: Path) -> None:
    """METHOD 7.4 in small: windows from the first second of a file to its last, folds of files."""
    scenes = relabeled(small_set, tmp_path / "set", fold=lambda i: str(i % 2))
    fields = {**SMALL, "n_clips": 6, "pool": ["gap", "max13"], "split": {"folds": "fold"}}
    probe = spec("probe", modality="audio", **fields)
    values = result(do(tmp_path / "run", probe, dataset=scenes)).values
    for pool in ("gap", "max13"):
        for fold in ("0", "1"):
            whole, windows = (named(values, name, pool=pool, fold=fold) for name in ("accuracy", "window_accuracy"))
            assert (whole.n, windows.n) == (16, 96)
            assert windows.value * 96 / 100 == pytest.approx(round(windows.value * 96 / 100))
            assert windows.ci_low is not None
            assert windows.ci_high is not None
            assert windows.ci_high - windows.ci_low > 20  # of 16 files, not of 96 windows
        assert named(values, "window_accuracy", pool=pool, split="mean").n == 192


def test_what_belongs_together_stays_together_when_l2_is_chosen(small_set: Path, tmp_path: Path) -> None:
    folded = open_dataset(relabeled(small_set, tmp_path / "set", fold=lambda i: str(i % 4)))
    labels = [clip.labels["class"] for clip in folded.clips]

    def groups(**split: object) -> list[str]:
        probe = spec("probe", modality="audio", split=split)
        assert isinstance(probe, Probe)
        return Task(probe, folded, labels, sorted(set(labels)), []).groups(range(8, 16))

    assert groups(folds="fold") == ["0", "1", "2", "3"] * 2
    assert groups(seeded=0.5, group="fold") == ["0", "1", "2", "3"] * 2
    assert groups() == [clip.id for clip in folded.clips[8:16]]


def test_labels_of_test_clips_change_nothing_but_the_score(small_set: Path, tmp_path: Path) -> None:
    marks = [clip.labels for clip in open_dataset(small_set).clips]
    classes = sorted({mark["class"] for mark in marks})
    other = dict(zip(classes, reversed(classes), strict=True))
    turned = relabeled(
        small_set,
        tmp_path / "set",
        **{"class": lambda i: other[marks[i]["class"]] if marks[i]["split"] == "test" else marks[i]["class"]},
    )
    probe = spec("probe", modality="audio", **SMALL)
    one, two = (
        result(do(tmp_path / name, probe, dataset=folder)) for name, folder in (("a", small_set), ("b", turned))
    )
    assert one.protocol["l2"] == two.protocol["l2"]
    assert named(one.values, "accuracy").value == pytest.approx(100 - named(two.values, "accuracy").value)


def test_a_dataset_without_sound_cannot_be_heard(small_set: Path, tmp_path: Path) -> None:
    mute = relabeled(small_set, tmp_path / "set", has_audio=lambda i: False)
    with pytest.raises(UserError, match="none of its 32 clips has sound"):
        do(tmp_path / "run", spec("probe", modality="audio"), dataset=mute)


def test_a_few_clips_without_sound_are_left_out_and_said(small_set: Path, tmp_path: Path) -> None:
    mute = relabeled(small_set, tmp_path / "set", has_audio=lambda i: i >= 2)
    run = do(tmp_path / "run", spec("probe", modality="audio", split={"seeded": 0.7}, **SMALL), dataset=mute)
    assert "2 of 32" in warnings(run)["clips_without_stream"]


def test_a_checkpoint_without_the_encoder_says_which_it_has(small_set: Path, tmp_path: Path) -> None:
    checkpoint = train(tmp_path / "single", small_set, objective="single_v", preset="paper", loss={"lambda_ac": 0})
    with pytest.raises(UserError, match="objective single_v, which has no audio encoder"):
        do(tmp_path / "run", trained("probe", modality="audio"), dataset=small_set, checkpoint=checkpoint)
