"""Checkpoints on disks that are full, and how many are kept."""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cmac_core.events import LEFT, Saved, Warned
from cmac_core.retention import remove_drafts
from cmac_core.specs.method import Checkpoints
from cmac_core.training import checkpoint_files, saving
from cmac_core.training.checkpoint_files import Sidecar, name_of
from cmac_core.training.run import Run
from tests.cmac_core.training.conftest import MakeJob
from tests.cmac_core.training.tiny import wait


def put(folder: Path, step: int, size: int = 10) -> None:
    data = memoryview(bytes([step % 256]) * size)
    checkpoint_files.write(
        folder,
        data,
        Sidecar(
            step=step,
            train_epoch=step / 4,
            sha256=checkpoint_files.sha256_of_bytes(data),
            bytes=size,
            world_size=1,
            spec_sha256="",
            versions={},
        ),
    )


def steps(folder: Path) -> list[int]:
    return [one.sidecar.step for one in checkpoint_files.stored(folder)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of five megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (4, 8, 12, 16):
        put(tmp_path, step)
    checkpoint_files.prune(tmp_path, Checkpoints(keep=0), 9)
    assert steps(tmp_path) == [4, 8, 12, 16]
    checkpoint_files.prune(tmp_path, Checkpoints(keep=2), 9)
    assert steps(tmp_path) == [12, 16]


def test_the_newest_that_verifies_is_kept_whatever_its_age(tmp_path: Path) -> None:
    for step in (4, 8, 12, 16):
        put(tmp_path, step)
    for step in (12, 16):
        (tmp_path / name_of(step) / "state.pt").write_bytes(b"?" * 10)
    checkpoint_files.prune(tmp_path, Checkpoints(keep=1), 9)
    assert steps(tmp_path) == [8, 16]


def test_what_a_killed_run_had_half_written_is_removed(tmp_path: Path) -> None:
    put(tmp_path, 4)
    (tmp_path / f"{name_of(8)}.tmp").mkdir()
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name_of(4)]


def test_a_full_disk_leaves_nothing_half_written(small_disk: Path) -> None:
    put(small_disk, 4, 3_000_000)
    with pytest.raises(OSError, match="No space left") as error:
        put(small_disk, 8, 3_000_000)
    assert error.value.errno == errno.ENOSPC
    assert [path.name for path in small_disk.iterdir()] == [name_of(4)]
    assert not checkpoint_files.drop_oldest(small_disk)  # the only one that verifies


def test_training_goes_on_without_room_and_ends_when_its_last_state_cannot_be_kept(job: MakeJob) -> None:
    tiny = job(checkpoints={"every_s": 1e-4})
    assert tiny.train(FILE_LIMIT="100000") == [1], tiny.log.read_text()
    warned = [event for event in tiny.events if isinstance(event, Warned) and event.code == "disk_full"]
    assert len(warned) == 7
    assert "training goes on" in warned[0].message
    assert tiny.ended.reason == "disk_full"
    assert not list((tiny.run_dir / "checkpoints").iterdir())


@pytest.mark.system
def test_every_second_pass_and_the_best_stay_beside_the_newest_also_after_a_stop(job: MakeJob) -> None:
    """Six passes of four steps. The other saves after every step, is stopped, and goes on in the same folder."""
    plan = {"keep": 1, "keep_every": 2, "keep_best": 1}
    straight = job("straight", optim={"epochs": 6}, checkpoints=plan)
    assert straight.train() == [0], straight.log.read_text()
    saved = [event for event in straight.events if isinstance(event, Saved)]
    assert [event.step for event in saved] == [4, 8, 12, 16, 20, 24]
    best = min(saved, key=lambda event: event.metrics["loss"]).step
    stopped = job("stopped", optim={"epochs": 6}, checkpoints=plan | {"every_s": 1e-4})
    children = stopped.start()
    while not any(isinstance(event, Saved) for event in stopped.events):
        time.sleep(0.01)
    os.kill(int((stopped.run_dir / "rank-0.pid").read_text()), signal.SIGUSR1)
    assert wait(children) in ([LEFT], [0]), stopped.log.read_text()  # a slow look finds it finished
    assert stopped.train() == [0], stopped.log.read_text()
    for tiny in (straight, stopped):
        assert steps(tiny.run_dir / "checkpoints") == sorted({8, 16, 24, best})


def test_whoever_started_the_run_may_keep_old_checkpoints_to_themselves(job: MakeJob) -> None:
    tiny = job(checkpoints={"every_s": 1e-4, "keep": 1, "keep_every": 0, "keep_best": 0})
    tiny.more = ["--keep-checkpoints"]
    assert tiny.train() == [0], tiny.log.read_text()
    assert steps(tiny.run_dir / "checkpoints") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_oldest_make_room(job: MakeJob, small_disk: Path) -> None:
    """Two checkpoints fit on the disk, three do not."""
    tiny = job(checkpoints={"every_s": 1e-4})
    tiny.run_dir.mkdir()
    (tiny.run_dir / "checkpoints").symlink_to(small_disk)
    assert tiny.train() == [0], tiny.log.read_text()
    size = next(event.bytes for event in tiny.events if isinstance(event, Saved))
    assert 5e6 / 3 < size < 5e6 / 2, "choose another size of disk"
    assert tiny.ended.outcome == "finished"
    assert steps(small_disk)[-1] == 8
    assert any("made room" in event.message for event in tiny.events if isinstance(event, Warned))


def test_where_others_make_room_what_must_be_kept_waits_for_them(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PAUSE_S", 0.05)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(4_000_000))
    run = Run(small_disk, {}, removes_old=False)
    state = {"step": 1, "train_epoch": 0.5, "world_size": 1, "last_pass": {}, "weights": torch.zeros(500_000)}

    def make_room() -> None:
        while b"waiting for room" not in (small_disk / "events.jsonl").read_bytes():
            time.sleep(0.01)
        filler.unlink()

    others = threading.Thread(target=make_room)
    others.start()
    with run:
        saving.Saving(run, Checkpoints(), "").save(state, must=True)
    others.join()
    assert steps(small_disk / "checkpoints") == [1]


def test_training_goes_on_while_a_checkpoint_is_written_and_changes_nothing_in_it(tmp_path: Path) -> None:
    """The disk is a pipe that nobody has read from yet."""
    os.mkfifo(slow := tmp_path / "slow")
    weights = torch.zeros(8)
    state = {"step": 1, "train_epoch": 0.5, "world_size": 1, "last_pass": {}, "a": weights, "b": weights[2:4]}
    with Run(tmp_path, {}, removes_old=False) as run, pytest.MonkeyPatch.context() as patch:
        write = checkpoint_files.write

        def after_the_pipe(*values: object) -> checkpoint_files.Stored:
            slow.read_bytes()
            return write(*values)  # type: ignore[arg-type]

        patch.setattr(checkpoint_files, "write", after_the_pipe)
        with saving.Saving(run, Checkpoints(), "") as checkpoints:
            checkpoints.save(state)
            weights.fill_(1)
            assert steps(tmp_path / "checkpoints") == []
            slow.write_bytes(b"now")
        (stored,) = checkpoint_files.stored(tmp_path / "checkpoints")
    found = torch.load(stored.state, weights_only=True)
    assert found["a"].sum() == 0
    assert found["b"].untyped_storage().data_ptr() == found["a"].untyped_storage().data_ptr(), "shared, and stored once"


def test_what_goes_wrong_meanwhile_is_raised_by_the_next_save_or_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    state = {"step": 1, "train_epoch": 0.5, "world_size": 1, "last_pass": {}}
    with Run(tmp_path, {}) as run:
        checkpoints = saving.Saving(run, Checkpoints(), "")
        checkpoints.save(state)
        with pytest.raises(FileExistsError):
            checkpoints.save(state)
        checkpoints.save(state)
        with pytest.raises(FileExistsError), checkpoints:
            pass
        checkpoints.save(state)
        with pytest.raises(ValueError, match="first") as other, checkpoints:
            raise ValueError("first")
        assert "was not written" in other.value.__notes__[0]
