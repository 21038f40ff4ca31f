"""Checkpoints on disks that are full, and how many are kept."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmac_core.events import Saved, Warned
from cmac_core.training import checkpoint_files
from cmac_core.training.checkpoint_files import Sidecar, name_of
from tests.cmac_core.training.conftest import MakeJob


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
    checkpoint_files.prune(tmp_path, keep=0)
    assert steps(tmp_path) == [4, 8, 12, 16]
    checkpoint_files.prune(tmp_path, keep=2)
    assert steps(tmp_path) == [12, 16]


def test_the_newest_that_verifies_is_kept_whatever_its_age(tmp_path: Path) -> None:
    for step in (4, 8, 12, 16):
        put(tmp_path, step)
    for step in (12, 16):
        (tmp_path / name_of(step) / "state.pt").write_bytes(b"?" * 10)
    checkpoint_files.prune(tmp_path, keep=1)
    assert steps(tmp_path) == [8, 16]


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
