"""Files of weights are read as tensors; what else they hold is never run."""

import argparse
import collections
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cmac_core.training.errors import UserError
from cmac_core.weights.reading import read_weights

TENSORS = {"stem.0.weight": torch.arange(3.0), "stem.0.bias": torch.zeros(2)}


def saved(folder: Path, body: Any, name: str = "weights.pth", **how: Any) -> Path:
    torch.save(body, folder / name, **how)
    return folder / name


@pytest.mark.parametrize(
    "body",
    [
        TENSORS,
        collections.OrderedDict(TENSORS),
        {"state_dict": TENSORS, "epoch": 3},
        {"model": TENSORS, "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(9)}}}, "epoch": 3},
        {"model": {f"module.{name}": value for name, value in TENSORS.items()}, "args": argparse.Namespace(lr=0.1)},
        {"model": {"state_dict": {f"module.module.{name}": value for name, value in TENSORS.items()}}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_found_bare_nested_and_wrapped(tmp_path: Path, body: Any, zipped: bool) -> None:
    found = read_weights(saved(tmp_path, body, _use_new_zipfile_serialization=zipped))
    assert set(found.tensors) == set(TENSORS)
    assert found.tensors["stem.0.weight"].tolist() == [0, 1, 2]
    assert found.notes is None


def test_safetensors_of_others_are_read_too(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "w.safetensors", {"format": "pt"})
    found = read_weights(tmp_path / "w.safetensors")
    assert set(found.tensors) == set(TENSORS)
    assert found.notes is None


class Trap:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_code_in_a_file_is_not_run_and_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": TENSORS, "scheduler": Trap(tmp_path / "sprung")})
    with pytest.raises(UserError, match=r"weights\.pth holds getattr; only tensors and plain values are read") as error:
        read_weights(file)
    assert "state dict alone" in error.value.hint
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    for data in (b"", b"not weights", b"PK\x03\x04 half a zip"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            read_weights(tmp_path / name)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    for body in ({"epoch": 3}, {"model": {}}, 5):
        with pytest.raises(UserError, match="holds no tensors by name"):
            read_weights(saved(tmp_path, body))


def test_notes_that_are_wrong_are_refused(tmp_path: Path) -> None:
    for notes in ("{", '{"model": {"width": "wide"}}'):
        save_file(TENSORS, tmp_path / "w.safetensors", {"cmac_lab": notes})
        with pytest.raises(UserError, match="no file of weights that can be read"):
            read_weights(tmp_path / "w.safetensors")
