"""Make one clean track of any sound: mono, 24 kHz, int16, without gaps."""

import math

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

RATE = 24_000
SILENT_DBFS = -60.0  # RULINGS 7
NO_SIGNAL_DBFS = -200.0  # stands for minus infinity
# Times of packets in MKV and AVI wander by a millisecond or two; a step beyond this is a gap.
GAP_S = 0.05

Samples = npt.NDArray[np.int16]


class SoundTrack:
    """Takes decoded frames in order and gives int16 samples that lie on the container's clock without gaps.

    Mono is the mean of all channels. Gaps between frames become silence and overlaps are cut, so that sample
    n always sounds at `start_ms / 1000 + n / 24000` seconds.
    """

    def __init__(self, origin_s: float) -> None:
        self._origin = origin_s  # container time that becomes zero
        self._resampler: AudioResampler | None = None
        self._rate = 0
        self.until = 0.0  # where the sound so far ends, seconds
        self.start_ms: int | None = None
        self.peak = 0

    def feed(self, frame: AudioFrame) -> list[Samples]:
        """The samples that this frame makes ready."""
        mono = mono_of(frame)
        out: list[Samples] = []
        if frame.sample_rate != self._rate:
            out += self.flush()
            self._rate = frame.sample_rate
        time = self.until if frame.time is None else frame.time - self._origin
        if self.start_ms is None:
            mono, time = _from_zero(mono, time, self._rate)
            if not len(mono):
                return out
            out.append(self._begin(time))
        step = time - self.until
        if abs(step) > GAP_S:
            gap = round(step * self._rate)
            mono = np.concatenate([np.zeros(gap, np.float32), mono]) if gap > 0 else mono[-gap:]
        if len(mono):
            self.until += len(mono) / self._rate
            out += self._resampled(mono)
        return out

    def flush(self) -> list[Samples]:
        """What the resampler still holds."""
        if self._resampler is None:
            return []
        frames = self._resampler.resample(None)
        self._resampler = None
        return [self._quantized(frame.to_ndarray()[0]) for frame in frames if frame is not None]

    @property
    def peak_dbfs(self) -> float:
        """Largest absolute sample against full scale."""
        return round(20 * math.log10(self.peak / 32768), 2) if self.peak else NO_SIGNAL_DBFS

    def _begin(self, time: float) -> Samples:
        """Packets must start on whole milliseconds: the rest of the first one is silence."""
        self.start_ms = math.floor(time * 1000 + 1e-6)
        self.until = time
        return np.zeros(round((time - self.start_ms / 1000) * RATE), dtype=np.int16)

    def _resampled(self, mono: npt.NDArray[np.float32]) -> list[Samples]:
        if self._rate == RATE:
            return [self._quantized(mono)]
        if self._resampler is None:
            self._resampler = AudioResampler("fltp", "mono", RATE)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), "fltp", "mono")
        frame.sample_rate = self._rate
        return [self._quantized(ready.to_ndarray()[0]) for ready in self._resampler.resample(frame)]

    def _quantized(self, mono: npt.NDArray[np.generic]) -> Samples:
        samples = np.clip(np.rint(mono.astype(np.float32) * 32768), -32768, 32767).astype(np.int16)
        if len(samples):
            self.peak = max(self.peak, int(np.abs(samples.astype(np.int32)).max()))
        return samples


def _from_zero(mono: npt.NDArray[np.float32], time: float, rate: int) -> tuple[npt.NDArray[np.float32], float]:
    """Sound before time zero is cut away."""
    return (mono[round(-time * rate) :], 0.0) if time < 0 else (mono, time)


def mono_of(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """Mean of the channels as float32 (S,), full scale at 1. Raises ValueError for a format numpy has not."""
    values = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype == np.uint8:
        scaled = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        scaled = (values / 2.0 ** (8 * values.dtype.itemsize - 1)).astype(np.float32)
    else:
        scaled = values.astype(np.float32)
    return np.nan_to_num(scaled.mean(axis=0), posinf=0.0, neginf=0.0)
