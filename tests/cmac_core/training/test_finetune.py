"""Fine-tuning in real processes: it learns, it resumes to the bit, it leaves when asked, two ranks agree with one."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core.events import LEFT, Metrics, Result, Saved, Started
from cmac_core.specs.presets import merged
from tests.cmac_core.jobs.small_jobs import relabeled
from tests.cmac_core.training.test_leaving import until
from tests.cmac_core.training.test_resume import EVERY_STEP, equal, state
from tests.cmac_core.training.tiny import Tiny, wait, write_clips

MODEL = {"width": 4, "depth": 1}
SPEC: dict[str, Any] = {
    "kind": "finetune",
    "dataset": "tiny",
    "seed": 3,
    "checkpoint": {"random_init": True, "model": MODEL},
    "geometry": {"frames": 4, "fps": 8, "crop": 32},
    "data": {"short_side": [32, 36], "workers": 0, "max_bad_share": 0.2},
    "train_clips": 2,
    "n_clips": 2,
    "bn_group": 2,
    "optim": {"batch": 4, "epochs": 2, "warmup_epochs": 0.5, "milestones": [1], "lr": 0.02},
}
MakeFinetune = Callable[..., Tiny]


class Finetuning(Tiny):
    """A tiny job whose spec is another."""

    def __init__(self, folder: Path, dataset: Path, resume: Path | None = None, **changes: Any) -> None:
        super().__init__(folder, dataset, resume)
        self.spec.write_text(json.dumps(merged(SPEC, changes)))


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine training clips (four steps of four in a pass of two clips each) and four test clips, of two classes."""
    folder = tmp_path_factory.mktemp("labeled")
    packed = write_clips(folder / "packed", 13)
    (packed / "truth.jsonl").touch()
    return relabeled(packed, folder / "set", split=lambda i: "test" if i >= 9 else "train")


@pytest.fixture
def finetune(labeled: Path, tmp_path: Path) -> MakeFinetune:
    """`finetune("name", resume=..., optim={...})`: a job in a folder of its own."""

    def make(name: str = "job", **changes: Any) -> Tiny:
        return Finetuning(tmp_path / name, labeled, **changes)

    return make


@pytest.fixture(scope="module")
def straight(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Eight steps without a stop, with a checkpoint after each. With dropout: it draws from the process's generator."""
    tiny = Finetuning(tmp_path_factory.mktemp("straight"), labeled, dropout=0.3, checkpoints=EVERY_STEP)
    assert tiny.train() == [0], tiny.log.read_text()
    return tiny


def result(tiny: Tiny) -> Result:
    (found,) = (event for event in tiny.events if isinstance(event, Result))
    return found


def test_the_last_pass_is_reported_and_every_step_has_its_learning_rate(straight: Tiny) -> None:
    values = {(value.name, value.split): value for value in result(straight).values}
    test, train = values["accuracy", "test"], values["accuracy", "train"]
    assert (test.n, test.selection, test.modality, test.random_init) == (4, "last", "video", None)
    assert (train.n, train.selection, train.modality) == (16, "last", None)
    rows = [event for event in straight.events if isinstance(event, Metrics) and event.step]
    rates = {row.step: row.values["lr"] for row in rows}
    peak = SPEC["optim"]["lr"]
    assert [rates[step] for step in range(1, 9)] == pytest.approx(
        [peak / 2, peak, peak, peak, *[0.05 * peak] * 4]
    )  # half a pass of warm-up, down after the first
    assert [path.parent.name for path in straight.checkpoints] == [f"step-{step:08}" for step in range(1, 9)]


@pytest.mark.parametrize("step", [3, 4], ids=["in the middle of a pass", "between two passes"])
def test_a_resumed_run_is_the_straight_run_to_the_bit(straight: Tiny, finetune: MakeFinetune, step: int) -> None:
    resumed = finetune(resume=straight.checkpoints[step - 1], dropout=0.3, checkpoints=EVERY_STEP)
    assert resumed.train() == [0], resumed.log.read_text()
    started = resumed.events[0]
    assert isinstance(started, Started)
    assert started.resumed_step == step
    equal(state(resumed.checkpoints[-1]), state(straight.checkpoints[-1]))
    ours, theirs = (
        [value for value in result(one).values if value.name in ("accuracy", "loss")] for one in (resumed, straight)
    )
    assert ours == theirs


def test_a_finished_training_is_tested_again_without_a_step(straight: Tiny, finetune: MakeFinetune) -> None:
    again = finetune(resume=straight.checkpoints[-1], dropout=0.3, checkpoints=EVERY_STEP)
    assert again.train() == [0], again.log.read_text()
    assert not [event for event in again.events if isinstance(event, Metrics)]
    assert result(again).values[0] == result(straight).values[0]


def test_another_training_is_not_gone_on_with(straight: Tiny, finetune: MakeFinetune) -> None:
    other = finetune(resume=straight.checkpoints[2], dropout=0.2)
    assert other.train() == [1]
    assert other.ended.reason == "user_error"
    assert "dropout was 0.3, now 0.2" in other.ended.detail


def test_asked_to_end_it_saves_and_leaves(finetune: MakeFinetune) -> None:
    tiny = finetune(optim={"epochs": 500})
    children = tiny.start()
    until(lambda: any(isinstance(event, Metrics) and event.step > 1 for event in tiny.events))
    os.kill(int((tiny.run_dir / "rank-0.pid").read_text()), signal.SIGTERM)
    assert wait(children) == [LEFT], tiny.log.read_text()
    assert isinstance(tiny.events[-2], Saved)
    assert not [event for event in tiny.events if isinstance(event, Result)]


def test_two_ranks_do_what_one_does(finetune: MakeFinetune) -> None:
    """To rounding, which turns ReLUs on and off: groups of four and a small rate keep that small (see test_resume)."""
    calm = {"bn_group": 4, "optim": {"batch": 8, "lr": 0.001}, "checkpoints": EVERY_STEP}
    alone, together = finetune("alone", **calm), finetune("together", **calm)
    assert alone.train() == [0], alone.log.read_text()
    assert together.train(ranks=2) == [0, 0], together.log.read_text()
    first = together.checkpoints[0].relative_to(together.run_dir)  # ranks agree one step late
    one, two = (state(tiny.run_dir / first)["objective"] for tiny in (alone, together))
    equal(two, one, share=1e-3)
    losses = [next(e.values["loss"] for e in tiny.events if isinstance(e, Metrics)) for tiny in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    own = state(together.checkpoints[-1])["ranks"]
    equal(own[0]["running"], own[1]["running"])  # one network is tested: batch norm's statistics are all ranks' mean
    assert result(together).protocol["world_size"] == 2
    assert result(together).values[0].n == 4


def test_a_batch_that_ranks_cannot_share_is_refused(finetune: MakeFinetune) -> None:
    tiny = finetune(bn_group=4)
    assert tiny.train(ranks=2) == [1, 1]
    assert "optim.batch: 4 clips on 2 ranks are no multiple of bn_group, 4, on each" in tiny.ended.detail
    assert "8, or bn_group to a divisor of 2" in tiny.ended.hint


def test_it_learns_what_it_is_shown_by_heart(labeled: Path, tmp_path: Path) -> None:
    """Noise that moves or rests: nothing but learning tells its classes apart. Train and test on the same clips."""
    known = relabeled_twice(labeled, tmp_path / "set")
    tiny = Finetuning(
        tmp_path / "job",
        known,
        color_jitter=False,
        data={"hflip": 0, "short_side": [32, 32]},
        bn_group=8,
        checkpoint={"model": {"width": 8}},
        optim={"batch": 8, "epochs": 30, "milestones": [24], "lr": 0.03, "weight_decay": 0},
        checkpoints={"every_epochs": 30},
    )
    assert tiny.train() == [0], tiny.log.read_text()
    accuracy = result(tiny).values[0]
    assert (accuracy.name, accuracy.split) == ("accuracy", "test")
    assert accuracy.value == 100


def relabeled_twice(source: Path, target: Path) -> Path:
    """The first eight clips, each once for training and once, under another id, for the test."""
    shutil.copytree(source, target, symlinks=True)
    rows = [json.loads(line) for line in (source / "manifest.jsonl").read_text().splitlines()[:8]]
    twice = [{**row, "labels": {**row["labels"], "split": "train"}} for row in rows]
    twice += [{**row, "id": f"t{row['id']}", "labels": {**row["labels"], "split": "test"}} for row in rows]
    (target / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in twice))
    return target


def test_a_pretrained_encoder_is_where_it_starts(labeled: Path, finetune: MakeFinetune, tmp_path: Path) -> None:
    pretrained = Tiny(tmp_path / "pre", labeled, optim={"epochs": 1}, checkpoints={"keep": 1})
    assert pretrained.train() == [0], pretrained.log.read_text()
    given = pretrained.checkpoints[-1]
    tiny = finetune(
        checkpoint={"id": "00000000-0000-0000-0000-000000000001"},
        # Too small a rate to move the encoder: what comes out is what went in.
        optim={"backbone_lr_mult": 1e-30, "weight_decay": 0, "epochs": 1},
    )
    body = json.loads(tiny.spec.read_text())
    body["checkpoint"] = {"id": body["checkpoint"]["id"]}
    tiny.spec.write_text(json.dumps(body))
    inputs = {"dataset": {"path": str(labeled)}, "checkpoint": {"path": str(given)}}
    (tiny.folder / "inputs.json").write_text(json.dumps(inputs))
    assert tiny.train() == [0], tiny.log.read_text()
    ended = state(tiny.checkpoints[-1])
    before, after = (one["encoders"]["video"] for one in (state(given), ended))
    for name, value in after.items():
        if name.endswith("weight"):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert len(result(tiny).lineage["checkpoint_sha256"]) == 64
    bias = ended["objective"]["network.head.bias"]
    assert bias.abs().max() > 1e-4  # it was 0


def test_a_finetuned_checkpoint_is_not_taken_for_a_pretrained_one(straight: Tiny, finetune: MakeFinetune) -> None:
    tiny = finetune()
    body = json.loads(tiny.spec.read_text())
    body["checkpoint"] = {"id": "00000000-0000-0000-0000-000000000001"}
    tiny.spec.write_text(json.dumps(body))
    inputs = json.loads((tiny.folder / "inputs.json").read_text())
    inputs["checkpoint"] = {"path": str(straight.checkpoints[-1])}
    (tiny.folder / "inputs.json").write_text(json.dumps(inputs))
    assert tiny.train() == [1]
    assert "holds 'cmac-lab/finetune/1', expected 'cmac-lab/pretrain/1'" in tiny.ended.detail
