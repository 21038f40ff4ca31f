"""The other front end, against the package that GDT and SeLaVi call."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from python_speech_features import logfbank

from cmac_core.data.front_end import build_front_end, fixed_scale
from cmac_core.data.log_filterbank import GDT_SCALE, LogFilterbank, floored_filters
from cmac_core.data.log_mel import LogMel
from cmac_core.specs.clips import AudioFrontEnd

GDT = AudioFrontEnd(frontend="gdt")
CONSTANT = [0, 2, 3, 5, 6, 8, 9, 11, 13, 14, 16, 18, 19, 21, 23, 25, 27, 28, 30, 32, 34, 36, 38, 41, 43, 45, 47, 50, 52,
            55, 58, 61, 64, 68, 71, 76, 82, 94]  # fmt: skip


def noise(samples: int = 24_000) -> torch.Tensor:
    """White noise of int16, standard deviation 3000."""
    draw = torch.Generator().manual_seed(0)
    return (torch.randn(2, samples, generator=draw) * 3000).round().to(torch.int16)


def package(sound: torch.Tensor, bands: int = 257) -> np.ndarray:
    """Frames by bands, as GDT's script asks for them."""
    return np.asarray(logfbank(sound.numpy(), 24_000, winlen=0.02, winstep=0.01, nfilt=bands, nfft=1024))


@pytest.mark.parametrize("bands", [257, 40])
@pytest.mark.parametrize(("samples", "frames"), [(24_000, 99), (48_000, 199), (24_001, 100), (480, 1)])
def test_it_is_the_packages(samples: int, frames: int, bands: int) -> None:
    sound, front_end = noise(samples), LogFilterbank(GDT.model_copy(update={"n_mels": bands}))
    expected = np.stack([package(one, bands).T for one in sound])[:, None]
    exact = LogFilterbank(GDT.model_copy(update={"n_mels": bands})).double()
    exact.filters = floored_filters(24_000, 1024, bands)
    assert expected.shape == (2, 1, bands, frames)
    np.testing.assert_allclose(exact(sound).numpy(), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(front_end(sound).numpy(), expected, rtol=0, atol=5e-3)


def test_38_rows_are_constant_whatever_is_heard() -> None:
    rows = LogFilterbank(GDT)(noise())[:, 0].transpose(0, 1).flatten(1)
    constant = (rows.amax(1) == rows.amin(1)).nonzero().flatten().tolist()
    assert constant == CONSTANT
    assert rows[CONSTANT].unique().tolist() == [pytest.approx(-36.0437, abs=1e-4)]
    assert (-36.0437 - GDT_SCALE[0]) / GDT_SCALE[1] == pytest.approx(-2.1226, abs=1e-4)
    assert int(((floored_filters(24_000, 1024, 257) > 0).sum(0) == 1).sum()) == 77


def test_known_sounds_have_known_values() -> None:
    front_end = LogFilterbank(GDT)
    assert front_end(torch.zeros(1, 24_000)).unique().tolist() == [pytest.approx(-36.0437, abs=1e-4)]
    heard = front_end(noise())
    assert heard.mean().item() == pytest.approx(7.1, abs=0.2)
    assert heard.std().item() == pytest.approx(18.2, abs=0.2)


def test_sound_as_numbers_up_to_one_is_the_same_sound() -> None:
    front_end, sound = LogFilterbank(GDT), noise()
    torch.testing.assert_close(front_end(sound.float() / 32768), front_end(sound), rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(front_end(sound), LogFilterbank(GDT)(sound), rtol=0, atol=0)
    with pytest.raises(ValueError, match="479 samples are less than one window of 480"):
        front_end(sound[:, :479])


def test_the_spec_chooses_and_what_gdt_fixes_cannot_be_set() -> None:
    assert isinstance(build_front_end(GDT), LogFilterbank)
    assert isinstance(build_front_end(AudioFrontEnd()), LogMel)
    assert (fixed_scale(GDT), fixed_scale(AudioFrontEnd())) == ((1.93, 17.89), None)
    assert GDT.n_fft == 1024
    assert AudioFrontEnd.model_validate(GDT.model_dump(mode="json")) == GDT
    with pytest.raises(ValidationError, match="n_fft: frontend gdt has 1024; leave it out"):
        AudioFrontEnd(frontend="gdt", n_fft=2048)
