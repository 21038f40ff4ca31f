"""Turn sound into the picture that the audio encoder looks at: a batch at a time, on the device (METHOD 2.1)."""

import math
import warnings

import torch
from torch import Tensor, nn

from cmac_core.specs.clips import AudioFrontEnd

_BAND = 32  # neighbouring filters that are applied at once: together they see an eighth of the spectrum


class LogMel(nn.Module):
    """Waveforms (B, S) to log-mel pictures (B, 1, n_mels, T), not normalised, always in fp32.

    Frame t looks at the samples from hop * t to hop * t + win alone, so one second at 24 kHz has 99 frames.
    Filters are HTK triangles up to half the sample rate, without area normalisation.
    """

    window: Tensor
    filters: Tensor  # (2 * (n_fft / 2 + 1), n_mels)

    def __init__(self, front_end: AudioFrontEnd) -> None:
        super().__init__()
        rate = front_end.sample_rate
        self.win, self.hop = round(front_end.win * rate), round(front_end.hop * rate)
        self.n_fft, self.floor = front_end.n_fft, front_end.log_floor
        filters = mel_filters(rate, front_end.n_fft, front_end.n_mels)
        empty = int((filters.amax(0) == 0).sum())
        if front_end == AudioFrontEnd(specaug=front_end.specaug, volume_jitter=front_end.volume_jitter):
            assert empty == 0, f"{empty} empty filters in the default front end"
        elif empty:
            warnings.warn(
                f"audio: {empty} empty of {front_end.n_mels} mel filters at {rate} Hz and n_fft {self.n_fft}: "
                "their rows are constant. Raise n_fft or lower n_mels.",
                stacklevel=2,
            )
        self.register_buffer("window", torch.hann_window(self.win), persistent=False)
        # A bin's power is the sum of two squares that lie beside each other: each has the bin's row of filters.
        self.register_buffer("filters", filters.float().repeat_interleave(2, 0), persistent=False)
        self._bands = [_seen(band) for band in self.filters.split(_BAND, 1)]

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S), int16 or float in [-1, 1], to (B, 1, n_mels, T). S must be at least one window."""
        if waveform.shape[-1] < self.win:
            raise ValueError(f"{waveform.shape[-1]} samples are less than one window of {self.win}")
        with torch.autocast(waveform.device.type, enabled=False):
            sound = waveform.float() / 32768 if waveform.dtype == torch.int16 else waveform.float()
            # Padding each frame to n_fft behind it differs from the usual padding around it by a phase alone.
            spectrum = torch.fft.rfft(sound.unfold(-1, self.win, self.hop) * self.window, self.n_fft)
            squares = torch.view_as_real(spectrum).flatten(-2).square_()
            bands = zip(self._bands, self.filters.split(_BAND, 1), strict=True)
            mel = torch.cat([squares[..., seen] @ filters[seen] for seen, filters in bands], -1)
            return mel.clamp_min_(self.floor).log_().transpose(1, 2)[:, None]


def _seen(filters: Tensor) -> slice:
    """The rows outside of which these filters are 0."""
    rows = filters.amax(1).nonzero()
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0)


def mel_filters(rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangles (n_fft / 2 + 1, n_mels) between points that lie evenly on HTK's mel scale, in fp64."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    points = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    low, center, high = points[:-2], points[1:-1], points[2:]
    return torch.minimum((bins - low) / (center - low), (high - bins) / (high - center)).clamp_min(0)


def normalise(mel: Tensor, mean: float, std: float) -> Tensor:
    """Two scalars of the pretraining dataset; probes use the checkpoint's."""
    return (mel - mean) / std
