"""Going on is the same as never having stopped: to the bit with as many ranks, to rounding with others."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core.events import Started
from cmac_core.training.checkpoint_files import SIDECAR
from tests.cmac_core.training.conftest import MakeJob
from tests.cmac_core.training.tiny import Tiny, write_clips

EVERY_STEP = {"every_s": 0.0001, "keep": 0}
TIMES = ("seconds", "versions")


def state(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def equal(one: Any, other: Any, share: float = 0.0, at: str = "") -> None:
    """All that two states hold, to the bit, or to a share of each tensor's largest value."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one:
            if key not in TIMES:
                equal(one[key], other[key], share, f"{at}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), at
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            equal(a, b, share, f"{at}/{i}")
    elif isinstance(one, torch.Tensor):
        near = share * float(other.abs().max()) if share and other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=0.0, atol=near, equal_nan=True, msg=lambda text: f"{at}: {text}")
    elif isinstance(one, float) and share:
        assert one == pytest.approx(other, rel=share), at
    else:
        assert one == other, at


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Eight steps without a stop, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("straight")
    tiny = Tiny(folder, write_clips(folder / "set"), checkpoints=EVERY_STEP)
    assert tiny.train() == [0], tiny.log.read_text()
    assert [path.parent.name for path in tiny.checkpoints] == [f"step-{step:08}" for step in range(1, 9)]
    return tiny


@pytest.mark.parametrize("step", [3, 4], ids=["in the middle of a pass", "between two passes"])
def test_a_resumed_run_is_the_straight_run_to_the_bit(straight: Tiny, job: MakeJob, step: int) -> None:
    resumed = job(
        data_folder=straight.folder / "set", resume=straight.checkpoints[step - 1], checkpoints={"every_s": 1e6}
    )
    assert resumed.train() == [0], resumed.log.read_text()
    started = resumed.events[0]
    assert isinstance(started, Started)
    assert started.resumed_step == step
    after = state(resumed.checkpoints[-1])
    before = state(straight.checkpoints[-1])
    for one in (after, before):
        del one["spec"]["checkpoints"]
    equal(after, before)


def test_the_variant_that_localises_goes_on_to_the_bit_with_adamw(job: MakeJob) -> None:
    spec = {"preset": "mutual", "optim": {"algorithm": "adamw", "lr": 0.004}, "moco": {"K": 8}}
    whole = job("whole", checkpoints=EVERY_STEP, **spec)
    assert whole.train() == [0], whole.log.read_text()
    resumed = job("resumed", resume=whole.checkpoints[2], checkpoints=EVERY_STEP, **spec)
    assert resumed.train() == [0], resumed.log.read_text()
    equal(state(resumed.checkpoints[-1]), state(whole.checkpoints[-1]))


@pytest.mark.system
def test_workers_change_nothing(straight: Tiny, job: MakeJob) -> None:
    other = job(data_folder=straight.folder / "set", data={"workers": 1}, checkpoints=EVERY_STEP)
    assert other.train() == [0], other.log.read_text()
    after, before = state(other.checkpoints[-1]), state(straight.checkpoints[-1])
    del after["spec"], before["spec"]
    equal(after, before)


@pytest.mark.system
def test_one_rank_then_two_then_one_is_one_rank(job: MakeJob, tmp_path: Path) -> None:
    """Steps 1 to 4 on one rank, 5 and 6 on two, 7 and 8 on one.

    Sums are added up in another order, and now and then that turns a ReLU on or off: a gradient moves at once (by .5 %
    of all, seen), and from there all that follows. So the rate is so small that nothing follows, and what is compared
    are the losses and what all gradients came to.
    """
    data = write_clips(tmp_path / "set", clips=35)
    calm = {"model": {"bn_group": 4}, "optim": {"batch": 8, "lr": 1e-8}}
    straight = job("straight", data_folder=data, checkpoints=EVERY_STEP, **calm)
    assert straight.train() == [0], straight.log.read_text()
    two = job("two", data_folder=data, resume=straight.checkpoints[3], checkpoints=EVERY_STEP, **calm)
    assert two.train(ranks=2) == [0, 0], two.log.read_text()
    one = job("one", data_folder=data, resume=two.checkpoints[1], checkpoints={"every_s": 1e6}, **calm)
    assert one.train() == [0], one.log.read_text()
    after, before = (state(path) for path in (one.checkpoints[-1], straight.checkpoints[-1]))
    assert after["last_pass"]["total"] == pytest.approx(before["last_pass"]["total"], rel=1e-5)
    momentum, expected = (buffers(one) for one in (after, before))
    assert (momentum - expected).norm() < 0.01 * expected.norm()
    queue = "contrast.queues.video"
    (keys, videos), (old_keys, old_videos) = (
        [one["objective"][f"{queue}.{name}"] for name in ("keys", "videos")] for one in (after, before)
    )
    assert torch.equal(videos, old_videos)
    torch.testing.assert_close(keys, old_keys, rtol=0, atol=1e-3)


def buffers(one: Any) -> torch.Tensor:
    """All of a state's momentum."""
    return torch.cat([part["momentum_buffer"].flatten() for part in one["optimizer"]["state"].values()])


@pytest.mark.system
def test_two_ranks_go_on_to_the_bit(straight: Tiny, job: MakeJob) -> None:
    data = straight.folder / "set"
    whole = job("whole", data_folder=data, checkpoints=EVERY_STEP)
    assert whole.train(ranks=2) == [0, 0], whole.log.read_text()
    resumed = job("resumed", data_folder=data, resume=whole.checkpoints[2], checkpoints=EVERY_STEP)
    assert resumed.train(ranks=2) == [0, 0], resumed.log.read_text()
    equal(state(resumed.checkpoints[-1]), state(whole.checkpoints[-1]))


def test_by_hand_a_run_goes_on_from_its_newest_whole_checkpoint(straight: Tiny, job: MakeJob) -> None:
    again = job(data_folder=straight.folder / "set", checkpoints=EVERY_STEP)
    for path in straight.checkpoints[:5]:
        shutil.copytree(path.parent, again.run_dir / "checkpoints" / path.parent.name)
    newest = again.checkpoints[-1]
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")  # as long as before
    assert again.train() == [0], again.log.read_text()
    started = next(event for event in again.events if isinstance(event, Started))
    assert started.resumed_step == 4
    assert "bad_checkpoint" in (again.run_dir / "events.jsonl").read_text()
    equal(state(again.checkpoints[-1]), state(straight.checkpoints[-1]))


def test_another_spec_is_refused_by_the_names_of_its_fields(straight: Tiny, job: MakeJob) -> None:
    other = job(data_folder=straight.folder / "set", resume=straight.checkpoints[2], optim={"lr": 0.01})
    assert other.train() == [1]
    assert other.ended.reason == "user_error"
    assert "optim.lr was 0.05, now 0.01" in other.ended.detail


def test_a_damaged_checkpoint_is_refused_with_what_was_found(straight: Tiny, job: MakeJob, tmp_path: Path) -> None:
    shutil.copytree(straight.checkpoints[2].parent, tmp_path / "bad")
    bad = tmp_path / "bad" / "state.pt"
    bad.write_bytes(bad.read_bytes()[:1000])
    given = job(data_folder=straight.folder / "set", resume=bad)
    assert given.train() == [1]
    assert "has 1000 bytes, expected" in given.ended.detail
    (tmp_path / "bad" / SIDECAR).unlink()
    without = job("without", data_folder=straight.folder / "set", resume=bad)
    assert without.train() == [1]
    assert "is not a checkpoint that can be read" in without.ended.detail


@pytest.mark.system
@pytest.mark.parametrize("moment", range(1, 5), ids=["state", "sidecar", "draft", "folder"])
def test_a_run_killed_while_it_saves_goes_on_from_a_whole_checkpoint(straight: Tiny, job: MakeJob, moment: int) -> None:
    killed = job(data_folder=straight.folder / "set", checkpoints=EVERY_STEP)
    assert killed.train(DIE_AT_FSYNC=str(4 * 2 + moment)) == [-signal.SIGKILL]  # in the third checkpoint
    left = [path.name for path in (killed.run_dir / "checkpoints").iterdir()]
    assert any(name.endswith(".tmp") for name in left) == (moment < 4)
    assert killed.train() == [0], killed.log.read_text()
    started = [event for event in killed.events if isinstance(event, Started)][-1]
    assert started.resumed_step == (2 if moment < 4 else 3)
    assert not list((killed.run_dir / "checkpoints").glob("*.tmp"))
    equal(state(killed.checkpoints[-1]), state(straight.checkpoints[-1]))
