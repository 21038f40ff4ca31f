"""Made once for all tests of evaluations, and changed by none."""

from pathlib import Path

import pytest

from cmac_core.specs import JOB_SPEC
from tests.cmac_core.jobs.small_jobs import GEOMETRY, MODEL, do


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 clips of 2 classes of sounding objects, packed."""
    folder = tmp_path_factory.mktemp("small")
    source = {"generate": "sounding-objects", "clips": 32, "classes": 2, "size": 48, "test_share": 0.375}
    do(
        folder / "run",
        JOB_SPEC.validate_python({"kind": "pack", "dataset": "small", "source": source, "workers": 1}),
        output=folder / "set",
    )
    return folder / "set"


@pytest.fixture(scope="session")
def small_checkpoint(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """state.pt after a few steps."""
    return train(tmp_path_factory.mktemp("trained"), small_set)


def train(folder: Path, dataset: Path, **fields: object) -> Path:
    """Pretrain for one pass and return the last checkpoint."""
    data = {"frames": GEOMETRY["frames"], "fps": GEOMETRY["fps"], "crop": 48, "short_side": [48, 52], "workers": 0}
    body = {"kind": "pretrain", "dataset": "small", "preset": "projected", "data": data, "model": MODEL}
    body |= {"moco": {"K": 16}, "optim": {"batch": 8, "epochs": 1, "warmup_epochs": 0}, **fields}
    run = do(folder, JOB_SPEC.validate_python(body), dataset=dataset)
    return max(run.folder.glob("checkpoints/*/state.pt"))
