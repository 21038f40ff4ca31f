"""One tiny dataset for all tests of training, and jobs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cmac_core.training.tiny import Tiny, write_clips

MakeJob = Callable[..., Tiny]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed by a test; one that must break something copies it."""
    return write_clips(tmp_path_factory.mktemp("tiny") / "set")


@pytest.fixture
def job(dataset: Path, tmp_path: Path) -> MakeJob:
    """`job("name", resume=..., optim={...})`: a job in a folder of its own."""

    def make(name: str = "job", data_folder: Path | None = None, **changes: Any) -> Tiny:
        return Tiny(tmp_path / name, data_folder or dataset, **changes)

    return make
