"""Fine-tuning from media files to numbers, and what is said of specs and data that do not do."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cmac_core.data.dataset import open_dataset, window_bounds
from cmac_core.data.loader import Cut, Loader
from cmac_core.data.sampler import Position, Sampler
from cmac_core.evaluation.classification import SOFTMAX, classifier_view
from cmac_core.evaluation.features import Seen
from cmac_core.evaluation.probe import chance_accuracy
from cmac_core.evaluation.showing import Showing
from cmac_core.evaluation.subject import subject
from cmac_core.jobs.finetune import schedule_of
from cmac_core.objectives.batch import Batch
from cmac_core.objectives.classification import UNKNOWN, Classification
from cmac_core.specs import Finetune, RandomInit
from cmac_core.specs.method import Model
from cmac_core.training.errors import UserError
from cmac_core.training.inputs import Input
from cmac_core.training.run import Run
from tests.cmac_core.jobs.small_jobs import GEOMETRY, artifacts, close, do, named, relabeled, result, spec

SMALL: dict[str, Any] = {
    "checkpoint": {"random_init": True, "model": {"width": 2, "depth": 1}},
    "data": {"short_side": [48, 52], "workers": 0},
    "train_clips": 1,
    "n_clips": 2,
    "bn_group": 4,
    "optim": {"batch": 8, "epochs": 1},
}


def small(**fields: Any) -> Finetune:
    """A spec whose run takes a second."""
    found = spec("finetune", **(SMALL | fields))
    assert isinstance(found, Finetune)
    return found


def test_the_defaults_are_those_of_the_method() -> None:
    paper = Finetune(checkpoint=RandomInit(random_init=True), dataset="ucf101")
    assert (paper.geometry.frames, paper.geometry.fps, paper.geometry.crop) == (32, 30, 128)
    assert (paper.data.short_side, paper.data.hflip, paper.train_clips, paper.n_clips) == ((128, 160), 0.5, 10, 10)
    jitter = paper.color_jitter
    assert (jitter.on, jitter.brightness, jitter.contrast, jitter.saturation, jitter.p) == (True, 0.4, 0.4, 0.4, 0.8)
    assert (paper.optim.lr, paper.optim.momentum, paper.optim.weight_decay) == (0.005, 0.9, 5e-3)
    assert (paper.optim.batch, paper.optim.epochs, paper.optim.backbone_lr_mult, paper.dropout) == (16, 12, 1, 0)
    assert (paper.spatial_crops, paper.select) == (1, "last")
    schedule = schedule_of(paper, 5960)  # steps in a pass over split 1 of UCF101
    assert schedule.total_steps == 12 * 5960
    assert schedule.at(0) == pytest.approx(0.005 / (2 * 5960))
    assert schedule.at(5959) == pytest.approx(0.0025)
    passes = [schedule.at(5960 * passed) for passed in (2, 5, 6, 9, 10, 11)]
    assert passes == pytest.approx([0.005, 0.005, 2.5e-4, 2.5e-4, 1.25e-5, 1.25e-5])


def test_ablations_turn_the_color_jitter_off() -> None:
    body = {"kind": "finetune", "dataset": "x", "checkpoint": {"random_init": True}}
    assert not Finetune.model_validate(body | {"scale": "ablation"}).color_jitter.on
    assert not Finetune.model_validate(body | {"color_jitter": False}).color_jitter.on
    assert Finetune.model_validate(body | {"color_jitter": {"on": True}}).color_jitter.p == 0.8


def test_a_pass_shows_each_video_as_often_as_asked_each_time_another_window(small_set: Path) -> None:
    dataset = open_dataset(small_set)
    videos = [3, 5, 7, 11]
    sampler = Sampler(3 * len(videos), 4, seed=1)
    loader = Loader(dataset, videos, sampler, Cut(8, 8, 24_000, video=True, audio=False))
    batches = list(loader.batches(Position(), sampler.steps))
    shown = [int(i) for raw in batches for i in raw.video_id]
    assert sorted(shown) == sorted(3 * videos)
    draws = [draw for raw in batches for draw in raw.draws]
    assert sorted(draws) == [(video, take) for video in videos for take in range(3)]
    assert [video for video, _ in draws] == shown
    starts = [request.starts for request in (loader._request(0, place, 3) for place in (0, 4, 8))]
    assert len(set(starts)) == 3
    low, high = window_bounds(dataset.clips[3], 1.0, video=True, audio=False)
    assert all(low <= start <= high for (start,) in starts)


def test_test_clips_reach_from_the_first_frame_to_the_last(small_set: Path) -> None:
    clip = open_dataset(small_set).clips[0]
    showing = Showing(small().geometry, 1.0, 24_000, video=True, audio=False)
    starts = showing.starts(clip, 10)
    end = clip.video_start_s + clip.frames / clip.fps
    assert (starts[0], starts[-1] + 1.0) == pytest.approx((clip.video_start_s, end))
    assert np.diff(starts) == pytest.approx([(end - 1.0 - clip.video_start_s) / 9] * 9)


def test_a_video_shorter_than_a_clip_is_looped(small_set: Path, tmp_path: Path) -> None:
    """Clips of 24 frames from videos of 16."""
    run = do(tmp_path, small(geometry=GEOMETRY | {"frames": 24}), dataset=small_set)
    assert named(result(run).values, "accuracy", split="test").n == 12
    dataset = open_dataset(small_set)
    showing = Showing(small(geometry=GEOMETRY | {"frames": 24}).geometry, 3.0, 24_000, video=True, audio=False)
    (window,) = showing.read(dataset, dataset.clips[0], [dataset.clips[0].video_start_s])
    assert window.frames is not None
    np.testing.assert_array_equal(window.frames[16:], window.frames[:8])


def test_accuracy_stands_beside_chance_and_the_confusion_matrix_adds_up_to_it(small_set: Path, tmp_path: Path) -> None:
    run = do(tmp_path, small(), dataset=small_set)
    accuracy = named(result(run).values, "accuracy", split="test")
    assert (accuracy.n, accuracy.chance, accuracy.selection, accuracy.modality) == (12, 50, "last", "video")
    assert accuracy.ci_low is not None
    assert accuracy.ci_high is not None
    assert accuracy.ci_low <= accuracy.value <= accuracy.ci_high
    (table,) = artifacts(run, "table")
    with (run.folder / table.path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert 100 * sum(int(row[f"predicted {row['class']}"]) for row in rows) / 12 == pytest.approx(accuracy.value)
    assert {one.name for one in artifacts(run, "plot")} == {"confusion.png", "losses"}


def test_with_more_than_five_classes_there_is_a_top_five(small_set: Path, tmp_path: Path) -> None:
    many = relabeled(small_set, tmp_path / "set", **{"class": lambda i: str(i % 7), "split": _side})
    run = do(tmp_path / "run", small(), dataset=many)
    values = result(run).values
    one, five = named(values, "accuracy", split="test"), named(values, "top5_accuracy")
    assert five.value >= one.value
    assert five.chance == pytest.approx(
        100 * chance_accuracy([str(i % 7) for i in range(20)], [str(i % 7) for i in range(20, 32)], 5)
    )


def test_chance_names_the_most_frequent_classes_and_draws_among_equals() -> None:
    assert chance_accuracy(["a", "a", "b", "c"], ["a", "b", "c", "c"], 2) == pytest.approx((1 + 3 / 2) / 4)
    assert chance_accuracy(list("abcdef"), list("abcdef"), 5) == pytest.approx(5 / 6)
    assert chance_accuracy(["a", "b"], ["a", "b"], 5) == 1


def test_crops_at_both_ends_count_as_much_as_the_center(small_set: Path, tmp_path: Path) -> None:
    dataset = open_dataset(small_set)
    run = Run(tmp_path, {"dataset": Input(path=small_set)})
    who = subject(run, RandomInit(random_init=True, model=Model(width=2)), "video", dataset, small().geometry, 1.0, 0)
    window = who.prepare.showing.read(dataset, dataset.clips[0], [0.0])[0]
    assert window.frames is not None
    wide = window._replace(frames=np.concatenate([window.frames, 255 - window.frames], axis=2))
    seen = Seen([wide], who.prepare([wide]))
    network = _MeanColor()
    one, three = (classifier_view(network, who.prepare, crops, "fp32").see(seen)[SOFTMAX] for crops in (1, 3))
    left, center, right = (network(who.prepare.frames([wide], at)).softmax(1) for at in (0.0, 0.5, 1.0))
    assert not torch.allclose(left, right, atol=1e-3)
    torch.testing.assert_close(one, center)
    torch.testing.assert_close(three, (left + center + right) / 3)
    close(run)


class _MeanColor(torch.nn.Module):
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.mean((2, 3, 4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": {"folds": "fold"}}, "one job a split"),
        ({"data": {"short_side": [40, 52]}}, "smaller than the crop of 48"),
        ({"optim": {"milestones": [10, 6]}}, "must rise"),
        ({"select": "best"}, "'last'"),
        ({"spatial_crops": 2}, "1 or 3"),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused_where_it_is_wrong(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        small(**change)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "sort"}, "no column 'sort'; it has class"),
        ({"split": {"column": "split1"}}, "no column 'split1'"),
        (
            {"split": {"test": "validation"}},
            "split.test: no clip has split = 'validation'; the column has 'test'",
        ),
        ({"split": {"column": "class", "train": "0", "test": "1"}}, "all 16 training clips have class = '0'"),
        ({"optim": {"batch": 24}}, "a pass has only 20: 20 training videos x train_clips 1"),
        ({"optim": {"batch": 10}}, "10 clips on 1 ranks are no multiple of bn_group, 4"),
    ],
)
def test_data_that_do_not_do_are_refused_with_what_is_there(
    small_set: Path, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    folder = relabeled(small_set, tmp_path / "set", **{"class": lambda i: str(i % 2)})
    with pytest.raises(UserError, match=words):
        do(tmp_path / "run", small(**fields), dataset=folder)


def test_data_of_one_class_or_without_labels_are_refused(small_set: Path, tmp_path: Path) -> None:
    same = relabeled(small_set, tmp_path / "same", **{"class": lambda i: "all"})
    with pytest.raises(UserError, match="all clips have class = 'all'"):
        do(tmp_path / "one", small(), dataset=same)
    bare = relabeled(small_set, tmp_path / "bare", **{"class": lambda i: None if i == 4 else str(i % 2)})
    with pytest.raises(UserError, match="1 clips have no class"):
        do(tmp_path / "two", small(), dataset=bare)


def test_labels_of_test_clips_change_nothing_but_the_score(small_set: Path, tmp_path: Path) -> None:
    sides = [clip.labels["split"] for clip in open_dataset(small_set).clips]
    honest = relabeled(small_set, tmp_path / "a", **{"class": lambda i: str(i % 2)})
    turned = relabeled(small_set, tmp_path / "b", **{"class": lambda i: str((i + (sides[i] == "test")) % 2)})
    one, two = (
        result(do(tmp_path / name, small(), dataset=folder)).values for name, folder in (("1", honest), ("2", turned))
    )
    losses = [named(values, "loss").value for values in (one, two)]
    assert losses[0] == losses[1]
    assert math.isfinite(losses[0])
    right = [named(values, "accuracy", split="test").value for values in (one, two)]
    assert right[0] == pytest.approx(100 - right[1])


def test_a_test_clip_that_is_shown_in_training_is_an_error() -> None:
    encoder = torch.nn.Conv3d(3, 4, 1)
    objective = Classification(small(), encoder, 4, [1, UNKNOWN], ["a", "b"]).train()
    frames = torch.zeros(1, 3, 1, 2, 2)
    assert objective.losses(Batch(frames, None, torch.tensor([0])), 0.0)["total"].isfinite()
    with pytest.raises(IndexError, match="-1 is out of bounds"):
        objective.losses(Batch(frames, None, torch.tensor([1])), 0.0)


def test_the_new_layer_is_orthogonal_and_drawn_from_the_seed_alone() -> None:
    heads = []
    for global_seed, seed in ((0, 1), (5, 1), (0, 2)):
        torch.manual_seed(global_seed)
        objective = Classification(small(seed=seed), torch.nn.Conv3d(3, 8, 1), 8, [0, 1, 2], ["a", "b", "c"])
        heads.append(objective.network.head)
    weight = heads[0].weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(3))
    assert not heads[0].bias.detach().any()
    torch.testing.assert_close(heads[1].weight, heads[0].weight, rtol=0, atol=0)
    assert not torch.allclose(heads[2].weight, heads[0].weight)


def _side(number: int) -> str:
    return "train" if number < 20 else "test"
