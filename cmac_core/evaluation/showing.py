"""Show clips to an encoder: fixed windows of each video, decoded once and ahead of time, the same every time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from cmac_core.data.dataset import PackedDataset, uniform_starts
from cmac_core.data.front_end import FrontEnd
from cmac_core.data.log_mel import normalise
from cmac_core.data.manifest import Clip
from cmac_core.data.video_augment import center_view
from cmac_core.data.windows import BrokenClip, Window, read_windows
from cmac_core.specs.clips import AudioFrontEnd, ClipGeometry, ClipSampling
from cmac_core.training.errors import DataError, UserError

AHEAD = 6  # videos decoded before they are needed
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


# Shape suffixes: B clips, T frames, H height, W width, F bands, t spectrogram frames.
class Shown(NamedTuple):
    """Clips as the encoders take them, on the device; None for the modality that is not looked at."""

    frames: Tensor | None  # (B, 3, T, crop, crop), normalized
    spectrogram: Tensor | None  # (B, 1, F, t), normalized


@dataclass(frozen=True)
class Showing:
    """How clips are shown: nothing here is random."""

    geometry: ClipGeometry
    seconds: float  # of sound; video lasts frames / fps
    sample_rate: int
    video: bool
    audio: bool

    @property
    def window_s(self) -> float:
        """Length of what has to be there for a window."""
        picture = self.geometry.frames / self.geometry.fps if self.video else 0.0
        return max(picture, self.seconds if self.audio else 0.0)

    def starts(self, clip: Clip, n: int) -> list[float]:
        """Starts of `n` windows from the first possible one to the last, both included."""
        return uniform_starts(clip, n, self.window_s, self.video, self.audio)

    def read(self, dataset: PackedDataset, clip: Clip, starts: Sequence[float]) -> list[Window]:
        """Decode windows of one file. Raises DataError naming a clip that does not decode."""
        try:
            return read_windows(
                dataset.path(clip),
                clip,
                starts,
                frames=self.geometry.frames,
                fps=self.geometry.fps,
                sample_rate=self.sample_rate,
                seconds=self.seconds,
                video=self.video,
                audio=self.audio,
            )
        except BrokenClip as error:
            hint = "The packed file was damaged since it was packed: pack the dataset again."
            raise DataError(f"{dataset.path(clip)} does not decode: {error}", hint) from error
        except ValueError as error:  # another sample rate than the packed one
            raise UserError(str(error), "Pack the dataset at the rate the checkpoint was trained with.") from error


class Preparation:
    """Windows to what encoders take: center crop, log-mel; normalized as in the pretraining."""

    def __init__(
        self,
        showing: Showing,
        log_mel: FrontEnd,
        mel: tuple[float, float],
        pixels: ClipSampling,
        device: torch.device,
        front_end: AudioFrontEnd | None = None,
    ) -> None:
        """With its spec, `front_end`, it has an identity, by which features can be cached."""
        self.front_end = front_end
        self.showing, self.mel, self.pixels, self.device = showing, mel, pixels, device
        self.log_mel = log_mel.to(device)

    def __call__(self, windows: Sequence[Window]) -> Shown:
        """A batch of windows; their pictures may differ in size."""
        frames = self.frames(windows) if self.showing.video else None
        spectrogram = None
        if self.showing.audio:
            sound = torch.from_numpy(np.stack([w.sound for w in windows if w.sound is not None]))
            spectrogram = normalise(self.log_mel(sound.to(self.device)), *self.mel)
        return Shown(frames, spectrogram)

    @property
    def identity(self) -> dict[str, Any] | None:
        """All that decides what encoders are shown of a window, as plain values."""
        if self.front_end is None:
            return None
        return {
            "geometry": self.showing.geometry.model_dump(mode="json"),
            "seconds": self.showing.seconds if self.showing.audio else None,
            "video": self.showing.video,
            "audio": self.front_end.model_dump(mode="json") if self.showing.audio else None,
            "mel": self.mel,
            "pixels": [self.pixels.mean, self.pixels.std],
        }

    def frames(self, windows: Sequence[Window], at: float = 0.5) -> Tensor:
        """Square crops (B, 3, T, crop, crop): the center, or elsewhere along the long side."""
        raw = [torch.from_numpy(w.frames).to(self.device) for w in windows if w.frames is not None]
        return center_view(raw, self.showing.geometry.crop, self.pixels.mean, self.pixels.std, at)


def ahead(make: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
    """`make` of each item, in order, made in a thread while the caller computes."""
    waiting: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
