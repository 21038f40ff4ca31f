"""One file, the same bytes for the same weights, and nothing half-written."""

from pathlib import Path

import pytest
import torch

from cmac_core.specs.clips import AudioFrontEnd
from cmac_core.weights.export import write_encoders
from cmac_core.weights.notes import MelScale, Notes, Pixels
from cmac_core.weights.reading import read_weights
from tests.cmac_core.weights.foreign import SMALL, encoders

NOTES = Notes(
    model=SMALL,
    audio=AudioFrontEnd(frontend="gdt"),
    pixels=Pixels(mean=(0.1, 0.2, 0.3)),
    mel=MelScale(mean=-8.0, std=4.0),
    origin={"seed": 3},
)


def test_the_same_weights_are_the_same_bytes_and_read_back_with_their_notes(tmp_path: Path) -> None:
    own = encoders()
    for name in ("a.safetensors", "b.safetensors"):
        write_encoders(tmp_path / name, own, NOTES)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    found = read_weights(tmp_path / "a.safetensors")
    assert found.notes == NOTES
    assert set(found.tensors) == {f"{kind}.{name}" for kind, weights in own.items() for name in weights}
    # Convolutions lie channels-last in memory; a file has one order, that of the names' shapes.
    torch.testing.assert_close(found.tensors["video.stem.0.weight"], own["video"]["stem.0.weight"], rtol=0, atol=0)


def test_a_write_that_fails_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(OSError, match=r"a\.safetensors"):
        write_encoders(tmp_path / "a.safetensors", encoders(), NOTES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
