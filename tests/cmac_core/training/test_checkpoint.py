"""What evaluations read of a checkpoint, and how a wrong one is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cmac_core.specs.method import Model
from cmac_core.training.checkpoint import load_encoders, load_query, random_encoders, read_state
from cmac_core.training.checkpoint_files import SIDECAR
from cmac_core.training.errors import UserError
from tests.cmac_core.training.tiny import Tiny, write_clips


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny = Tiny(folder, write_clips(folder / "set"), optim={"epochs": 1})
    assert tiny.train() == [0], tiny.log.read_text()
    return tiny.checkpoints[-1]


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved.parent, tmp_path / "copy")) / saved.name


def frames() -> torch.Tensor:
    return torch.zeros(2, 3, 4, 32, 32)


def rewrite(path: Path, **changes: Any) -> None:
    (path.parent / SIDECAR).unlink()
    torch.save(torch.load(path, weights_only=True) | changes, path)


def test_trained_encoders_are_those_of_the_query(saved: Path) -> None:
    encoders = load_encoders(saved)
    query = load_query(saved).query
    assert encoders.video is not None
    assert encoders.audio is not None
    assert not encoders.video.training
    weights = query.state_dict()
    for name, value in encoders.audio.state_dict().items():
        torch.testing.assert_close(value, weights[f"encoders.audio.{name}"], rtol=0, atol=0)
    assert encoders.video(frames()).shape == (2, 32, 1, 2, 2)
    assert (encoders.mel_mean, encoders.mel_std, encoders.step, encoders.train_epoch) == (-8.0, 4.0, 4, 1.0)
    assert encoders.sha256 == json.loads((saved.parent / SIDECAR).read_text())["sha256"]


def test_a_loaded_objective_makes_maps(saved: Path) -> None:
    maps = load_query(saved).attention_maps(frames(), torch.zeros(2, 1, 257, 49))
    assert maps.s_v.shape == (2, 1, 2, 2)
    assert maps.s_hat_a is not None


def test_weights_lie_in_the_file_once(saved: Path) -> None:
    state = torch.load(saved, weights_only=True)
    one = state["encoders"]["video"]["stem.0.weight"]
    other = state["objective"]["query.encoders.video.stem.0.weight"]
    assert one.data_ptr() == other.data_ptr()


def test_random_encoders_depend_on_the_seed_and_on_nothing_else() -> None:
    def first(module: nn.Module | None) -> torch.Tensor:
        assert module is not None
        return next(module.parameters())

    one = random_encoders(Model(width=4), 5)
    torch.rand(3)
    again, other = random_encoders(Model(width=4), 5), random_encoders(Model(width=4), 6)
    assert first(one.audio).equal(first(again.audio))
    assert not first(one.audio).equal(first(other.audio))
    assert one.mel_mean is None


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="is not a checkpoint that can be read"):
        read_state(path)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="holds None, expected 'cmac-lab/pretrain/1'"):
        read_state(path)


def test_a_flipped_bit_is_found(copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    with pytest.raises(UserError, match=r"has sha256 \w{16}…, expected \w{16}…"):
        load_encoders(copy)


def test_a_checkpoint_of_another_architecture_is_refused_tensor_by_tensor(copy: Path) -> None:
    spec = torch.load(copy, weights_only=True)["spec"]
    rewrite(copy, spec=spec | {"model": spec["model"] | {"width": 8}})
    with pytest.raises(UserError, match=r"stem.0.weight is \(2, 3, 1, 7, 7\), expected") as error:
        load_encoders(copy)
    assert "another architecture" in str(error.value)
    with pytest.raises(UserError, match="another architecture"):
        load_query(copy)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"format": Trap()}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="not a checkpoint that can be read"):
        read_state(tmp_path / "state.pt")
    assert not (tmp_path / "sprung").exists()
