"""SIGUSR1 and SIGTERM mean: save, say so, leave with 75. Through a real torchrun too, with loader workers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cmac_core.data.sampler import Position, Sampler, stand_ins
from cmac_core.events import LEFT, Ended, Metrics, Saved
from tests.cmac_core.training.conftest import MakeJob
from tests.cmac_core.training.tiny import CLIPS, SPEC, Tiny, wait

LONG = {"epochs": 500}


def until(ready: Callable[[], object], seconds: float = 200) -> None:
    since = time.monotonic()
    while not ready():
        assert time.monotonic() - since < seconds, "it never came"
        time.sleep(0.05)


def trains(tiny: Tiny) -> bool:
    return any(isinstance(event, Metrics) and event.step > 1 for event in tiny.events)


def pids(tiny: Tiny) -> list[int]:
    return [int(path.read_text()) for path in sorted(tiny.run_dir.glob("rank-*.pid"))]


def test_asked_by_one_rank_all_save_at_the_same_step_and_leave(job: MakeJob) -> None:
    tiny = job(optim=LONG)
    children = tiny.start(ranks=2)
    until(lambda: trains(tiny))
    os.kill(pids(tiny)[1], signal.SIGUSR1)  # rank 0 is asked by its neighbor alone
    assert wait(children) == [LEFT, LEFT], tiny.log.read_text()
    assert tiny.ended == Ended(outcome="left")
    saved = tiny.events[-2]
    assert isinstance(saved, Saved)
    assert tiny.checkpoints[-1].parent.name == f"step-{saved.step:08}"


@pytest.mark.system
def test_torchrun_that_is_told_to_end_leaves_a_checkpoint_and_no_process(job: MakeJob) -> None:
    tiny = job(optim=LONG, data={"workers": 1})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cmac_core"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tiny.log.open("wb") as log:
        torchrun = subprocess.Popen([*command, *tiny.arguments], stdout=log, stderr=log, env=environment)
        try:
            until(lambda: trains(tiny))
            ranks = pids(tiny)
            torchrun.send_signal(signal.SIGTERM)
            torchrun.wait(150)
        finally:
            torchrun.kill()
    assert tiny.ended == Ended(outcome="left"), tiny.log.read_text()
    assert isinstance(tiny.events[-2], Saved)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks))


@pytest.mark.system
def test_a_rank_that_is_killed_takes_the_others_along(job: MakeJob) -> None:
    tiny = job(optim=LONG)
    children = tiny.start(ranks=2)
    until(lambda: trains(tiny))
    os.kill(pids(tiny)[1], signal.SIGKILL)
    assert wait(children) == [1, -signal.SIGKILL], tiny.log.read_text()
    assert tiny.ended.outcome == "failed"
    assert tiny.ended.reason is None  # only who started the ranks can know
    assert "another rank went away" in tiny.ended.detail


def test_the_reason_of_a_rank_that_is_not_the_first_is_recorded(job: MakeJob, dataset: Path, tmp_path: Path) -> None:
    """Rank 1 alone meets a clip that cannot be read, and whose only stand-in cannot be read either."""
    broken = shutil.copytree(dataset, tmp_path / "broken")
    sampler = Sampler(CLIPS, SPEC["optim"]["batch"], SPEC["seed"])
    place = int(sampler.batch(Position(), rank=1, ranks=2)[0])
    stand_in = stand_ins(SPEC["seed"], place, CLIPS, 1)[0]
    assert stand_in not in sampler.batch(Position(), rank=0, ranks=2)
    for i in (place, stand_in):
        (broken / "clips" / f"{i:02}.mkv").write_bytes(b"no film")
    tiny = job(data_folder=broken, data={"retry_chain": 1})
    assert tiny.train(ranks=2) == [1, 1], tiny.log.read_text()
    assert tiny.ended.reason == "data_error"
    assert f"{place:02} cannot be read" in tiny.ended.detail
