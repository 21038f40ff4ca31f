"""What must be right before the core starts."""

import uuid
from pathlib import Path

import pytest

from store.attempts import Work
from store.fence import Lease, Orders
from store.states import Desired
from worker.supervisor.preparation import Refused, check_inputs


def work(folder: Path, **inputs: Path) -> Work:
    told = {key.replace("_", "."): {"path": str(path), "sha256": None} for key, path in inputs.items()}
    return Work(
        lease=Lease(uuid.uuid4(), 1), job_id=uuid.uuid4(), kind="pack", spec={}, node_id=uuid.uuid4(), devices=(),
        inputs=told, resume_checkpoint=None, grace_s=1.0, events_offset=0, folder=folder,
        orders=Orders(Desired.run, None, None, None, None),
    )  # fmt: skip


def test_folders_of_earlier_packs_are_there_and_the_output_is_made(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    found = check_inputs(work(tmp_path, packed_0=tmp_path / "part", output=tmp_path / "out" / "put"))
    assert set(found) == {"packed.0", "output"}
    assert (tmp_path / "out" / "put").is_dir()


def test_a_folder_of_an_earlier_pack_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"packed\.1: .*gone is no folder"):
        check_inputs(work(tmp_path, packed_0=tmp_path, packed_1=tmp_path / "gone"))
