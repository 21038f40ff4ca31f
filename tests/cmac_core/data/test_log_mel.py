import math

import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from cmac_core.data.log_mel import LogMel, mel_filters, normalise
from cmac_core.specs.clips import AudioFrontEnd

SECOND = torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel(AudioFrontEnd())


@pytest.mark.parametrize(("samples", "frames"), [(24_000, 99), (48_000, 199)])
def test_a_second_has_99_frames_and_two_have_199(log_mel: LogMel, samples: int, frames: int) -> None:
    assert log_mel(torch.zeros(3, samples)).shape == (3, 1, 257, frames)


def test_it_is_torchaudios_uncentered_mel(log_mel: LogMel) -> None:
    mel = MelSpectrogram(24_000, 2048, 480, 240, pad=784, n_mels=257, center=False)
    expected = mel(SECOND).clamp_min(1e-8).log()[:, None]
    torch.testing.assert_close(log_mel(SECOND), expected, rtol=1e-4, atol=1e-4)


def test_frame_t_sees_the_samples_from_240_t_alone(log_mel: LogMel) -> None:
    sound = SECOND[0].double().numpy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    framed = np.stack([sound[240 * t : 240 * t + 480] * hann for t in range(99)])
    power = np.abs(np.fft.rfft(framed, 2048)) ** 2
    expected = np.log(np.maximum(power @ mel_filters(24_000, 2048, 257).numpy(), 1e-8)).T
    np.testing.assert_allclose(log_mel(SECOND)[0, 0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_known_sounds_have_known_values(log_mel: LogMel) -> None:
    assert log_mel(torch.zeros(1, 24_000)).unique().tolist() == [pytest.approx(math.log(1e-8), abs=1e-4)]
    noise = torch.rand(1, 24_000, generator=torch.Generator().manual_seed(0)) - 0.5  # up to half a bit
    assert log_mel(noise / 32768).mean().item() == pytest.approx(-17.4, abs=0.2)
    sine = torch.sin(2 * math.pi * 1000 * torch.arange(24_000) / 24_000)[None]
    assert log_mel(sine).max().item() == pytest.approx(9.98, abs=0.01)


def test_int16_is_scaled_to_one(log_mel: LogMel) -> None:
    whole = (SECOND * 32768).round().clamp(-32768, 32767).to(torch.int16)
    torch.testing.assert_close(log_mel(whole), log_mel(whole.float() / 32768))


def test_autocast_does_not_reach_it(log_mel: LogMel) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = log_mel(SECOND)
    torch.testing.assert_close(inside, log_mel(SECOND), rtol=0, atol=0)


@pytest.mark.parametrize(("n_fft", "empty"), [(512, 39), (1024, 7), (2048, 0)])
def test_a_short_transform_leaves_filters_empty_and_says_so(n_fft: int, empty: int) -> None:
    filters = mel_filters(24_000, n_fft, 257)
    assert int((filters.amax(0) == 0).sum()) == empty
    if empty:
        with pytest.warns(UserWarning, match=f"{empty} empty of 257 mel filters"):
            LogMel(AudioFrontEnd(n_fft=n_fft))
    else:
        assert int(((filters > 0).sum(0) == 1).sum()) == 13


def test_less_than_a_window_is_refused(log_mel: LogMel) -> None:
    with pytest.raises(ValueError, match="479 samples are less than one window of 480"):
        log_mel(torch.zeros(1, 479))


def test_normalising_takes_the_datasets_two_numbers() -> None:
    assert normalise(torch.tensor([1.0, 3.0]), 1.0, 2.0).tolist() == [0.0, 1.0]
