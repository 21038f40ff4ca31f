"""The picture of sound that GDT and SeLaVi listen to: python_speech_features' logfbank, in batches (METHOD 2.2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.specs.clips import AudioFrontEnd

PRE_EMPHASIS = 0.97
GDT_SCALE = (1.93, 17.89)  # mean and deviation with which GDT normalises them


class LogFilterbank(nn.Module):
    """Waveforms (B, S) to log filter-bank pictures (B, 1, n_mels, T), not normalised, in fp32 (`double()`: fp64).

    Amplitudes are those of int16, pre-emphasised, in rectangular windows; the last one is filled up with zeros.
    The floor in the filters' edges leaves 38 of 257 rows constant at ln(log_floor), as in the original.
    """

    filters: Tensor

    def __init__(self, front_end: AudioFrontEnd) -> None:
        super().__init__()
        assert front_end.frontend == "gdt"
        rate = front_end.sample_rate
        self.win, self.hop = round(front_end.win * rate), round(front_end.hop * rate)
        self.n_fft, self.floor = front_end.n_fft, front_end.log_floor
        filters = floored_filters(rate, front_end.n_fft, front_end.n_mels)
        self.register_buffer("filters", filters.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, S), int16 or float in [-1, 1], to (B, 1, n_mels, T). S must be at least one window."""
        if waveform.shape[-1] < self.win:
            raise ValueError(f"{waveform.shape[-1]} samples are less than one window of {self.win}")
        with torch.autocast(waveform.device.type, enabled=False):
            scale = 1 if waveform.dtype == torch.int16 else 32768
            sound = waveform.to(self.filters.dtype) * scale
            sound = torch.cat([sound[:, :1], sound[:, 1:] - PRE_EMPHASIS * sound[:, :-1]], 1)
            hops = math.ceil((sound.shape[1] - self.win) / self.hop)
            frames = F.pad(sound, (0, self.win + hops * self.hop - sound.shape[1])).unfold(1, self.win, self.hop)
            spectrum = torch.fft.rfft(frames, self.n_fft)
            energy = (spectrum.real.square() + spectrum.imag.square()) / self.n_fft @ self.filters
            return torch.where(energy == 0, self.floor, energy).log().transpose(1, 2)[:, None]


def floored_filters(rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangles (n_fft / 2 + 1, n_mels) whose edges are even on the mel scale, then floored to a bin, in fp64."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    hertz = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    edges = ((n_fft + 1) * hertz / rate).floor()
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = torch.where((low <= bins) & (bins < center), (bins - low) / (center - low), 0.0)
    return torch.where((center <= bins) & (bins < high), (high - bins) / (high - center), rising)
