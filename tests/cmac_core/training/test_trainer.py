"""The loop itself: it learns, it skips what is not finite, it reports, and it replaces what is broken."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from cmac_core.events import Artifact, Metrics, Progress, Replaced, Result, Saved, Started
from cmac_core.training.trainer import pace_of
from tests.cmac_core.training.conftest import MakeJob
from tests.cmac_core.training.tiny import CLIPS, Tiny, write_clips


def metrics(tiny: Tiny) -> list[Metrics]:
    return [event for event in tiny.events if isinstance(event, Metrics) and event.step > 0]


def test_a_run_tells_what_it_does_from_start_to_end(job: MakeJob) -> None:
    tiny = job()
    assert tiny.train() == [0], tiny.log.read_text()
    first, last = tiny.events[0], tiny.ended
    assert isinstance(first, Started)
    assert first.spec["optim"]["lr"] == 0.05
    assert first.versions["torch"] == torch.__version__.split("+")[0]
    assert last.outcome == "finished"
    progress = [event for event in tiny.events if isinstance(event, Progress)]
    assert (progress[-1].phase, progress[-1].step, progress[-1].of, progress[-1].unit) == ("train", 8, 8, "clips")
    row = metrics(tiny)[-1]
    assert {"loss", "lr", "grad_norm", "clips_per_s", "data_wait", "contrast/top1_v", "attention/v"} <= set(row.values)
    assert (row.step, row.train_epoch) == (8, 2.0)
    assert [event.step for event in tiny.events if isinstance(event, Saved)] == [4, 8]
    (result,) = (event for event in tiny.events if isinstance(event, Result))
    values = {value.name: value for value in result.values}
    assert {"loss", "cosine/matched_embedding", "cosine/mismatched_embedding", "contrast/top1_v"} <= set(values)
    assert values["loss"].n == 16
    plot, *export = (event for event in tiny.events if isinstance(event, Artifact))
    assert [(one.name, one.kind) for one in export] == [
        ("encoders.safetensors", "encoders"),
        ("model-card.md", "model_card"),
    ]
    assert (tiny.run_dir / plot.path).read_bytes().startswith(b"\x89PNG")
    assert tiny.log.read_text().count("train ") >= 2


def test_gradients_that_are_not_finite_end_the_run_and_change_no_weight(job: MakeJob) -> None:
    tiny = job(optim={"lr": 1e20, "warmup_epochs": 0, "epochs": 10}, checkpoints={"every_s": 1e-4, "keep": 0})
    assert tiny.train() == [1]
    assert tiny.ended.reason == "diverged"
    assert "10 steps in a row" in tiny.ended.detail
    assert "optim.lr" in tiny.ended.hint
    states = [torch.load(path, weights_only=True) for path in tiny.checkpoints]
    skipped = [state["guard"]["skipped"] for state in states]
    bad = next(i for i in range(1, len(states)) if skipped[i] > skipped[i - 1])
    for name, value in states[bad]["optimizer"]["state"].items():
        torch.testing.assert_close(value, states[bad - 1]["optimizer"]["state"][name], rtol=0, atol=0)
    weights = [name for name in states[bad]["objective"] if name.startswith("query.") and name.endswith("weight")]
    for name in weights:
        torch.testing.assert_close(
            states[bad]["objective"][name], states[bad - 1]["objective"][name], rtol=0, atol=0, equal_nan=True
        )
    assert metrics(tiny)[-1].values["loss"] is None  # written as null, not as NaN, which is no JSON


@pytest.mark.system
def test_a_broken_clip_is_replaced_always_by_the_same_one(job: MakeJob, dataset: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(dataset, tmp_path / "broken")
    for i in (2, 9):
        path = broken / "clips" / f"{i:02}.mkv"
        path.write_bytes(path.read_bytes()[:300])
    calm = {"lr": 1e-5}  # so that rounding does not grow from step to step
    alone = job("alone", data_folder=broken, optim=calm)
    assert alone.train() == [0], alone.log.read_text()
    together = job("together", data_folder=broken, data={"workers": 1}, optim=calm)
    assert together.train(ranks=2) == [0, 0], together.log.read_text()
    replaced = [
        sorted((event.index, event.by) for event in tiny.events if isinstance(event, Replaced))
        for tiny in (alone, together)
    ]
    assert replaced[0] == replaced[1]
    assert {index for index, _ in replaced[0]} == {2, 9}
    assert len(set(replaced[0])) == 2  # a stand-in does not change from pass to pass
    losses = [[row.values["loss"] for row in metrics(tiny)] for tiny in (alone, together)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert losses[0][:4] == pytest.approx(losses[1][:4], rel=1e-3)


def test_more_broken_clips_than_allowed_end_the_run(job: MakeJob, dataset: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(dataset, tmp_path / "broken")
    for i in range(3):
        (broken / "clips" / f"{i:02}.mkv").unlink()
    tiny = job(data_folder=broken, data={"max_bad_share": 0.15})
    assert tiny.train() == [1]
    assert tiny.ended.reason == "data_error"
    assert f"3 clips of {CLIPS} cannot be read" in tiny.ended.detail


def test_it_learns_four_clips_by_heart(job: MakeJob, tmp_path: Path) -> None:
    """The loop, the order of a step and the optimizer are right: nothing but learning tells the clips apart."""
    tiny = job(
        data_folder=write_clips(tmp_path / "four", 4),
        data={"hflip": 0, "short_side": [32, 32], "color_jitter": {"on": False}},
        audio={"specaug": {"W": 0, "n_freq": 0, "n_time": 0}},
        loss={"lambda_ac": 0},
        model={"width": 8, "bn_group": 4, "head": {"dim": 32}},
        moco={"K": 12, "m": 0.99},
        optim={"epochs": 45, "lr": 0.03, "warmup_epochs": 20},
        checkpoints={"every_epochs": 45},
    )
    assert tiny.train() == [0], tiny.log.read_text()
    (result,) = (event for event in tiny.events if isinstance(event, Result))
    values = {value.name: value.value for value in result.values}
    assert values["cosine/matched_embedding"] > values["cosine/mismatched_embedding"] + 0.3
    assert values["contrast/v"] < 0.1 * math.log(1 + 2 * 12)


@pytest.mark.parametrize("objective", ["single_v", "single_a"])
def test_one_modality_trains_alone(job: MakeJob, objective: str) -> None:
    tiny = job(objective=objective, optim={"epochs": 1})
    assert tiny.train() == [0], tiny.log.read_text()
    (saved,) = tiny.checkpoints
    encoders = torch.load(saved, weights_only=True)["encoders"]
    assert list(encoders) == [{"single_v": "video", "single_a": "audio"}[objective]]


def test_two_clips_of_a_video_may_lie_on_two_ranks_that_agree(job: MakeJob) -> None:
    tiny = job(contrastive={"wi_pos": True}, optim={"epochs": 1, "batch": 8}, model={"bn_group": 2})
    assert tiny.train(ranks=2) == [0, 0], tiny.log.read_text()
    assert {"partner/v", "partner/a"} <= set(metrics(tiny)[-1].values)


def test_the_spec_that_was_run_is_in_the_checkpoint(job: MakeJob) -> None:
    tiny = job(optim={"epochs": 1})
    assert tiny.train() == [0]
    state = torch.load(tiny.checkpoints[-1], weights_only=True)
    assert state["spec"]["optim"]["batch"] == json.loads(tiny.spec.read_text())["optim"]["batch"]
    assert state["position"] == {"seed": 3, "train_epoch": 1, "batch": 0}
    assert state["mel"] == {"mean": -8.0, "std": 4.0}


def test_short_runs_report_often_and_give_up_early() -> None:
    assert pace_of(steps=4, total=8, clips=500, max_bad_share=0.001) == (1, 3, 1)
    assert pace_of(steps=1754, total=350_800, clips=224_576, max_bad_share=0.001) == (10, 20, 224)
    assert pace_of(steps=4, total=8, clips=500, max_bad_share=0).bad_clips == 0
