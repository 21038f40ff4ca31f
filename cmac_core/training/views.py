"""What the networks see of a clip: augmented frames and spectrograms, made by batch on the device (METHOD 2, 4)."""

import torch
from torch import Tensor

from cmac_core.data import spec_augment, video_augment
from cmac_core.data.draws import Purpose, generator
from cmac_core.data.front_end import build_front_end
from cmac_core.data.log_mel import normalise
from cmac_core.data.raw_batch import RawBatch
from cmac_core.objectives.batch import Batch
from cmac_core.specs.clips import AudioFrontEnd, ClipSampling


class Views:
    """Raw batches to what the objective takes. Every number drawn depends on (seed, train_epoch, clip) alone."""

    def __init__(
        self,
        sampling: ClipSampling,
        front_end: AudioFrontEnd,
        mel: tuple[float, float],
        seed: int,
        device: torch.device,
    ) -> None:
        """`mel` are the mean and the standard deviation of the dataset's log-mel pictures."""
        self.sampling, self.front_end, self.mel, self.seed, self.device = sampling, front_end, mel, seed, device
        self.log_mel = build_front_end(front_end).to(device)

    def __call__(self, raw: RawBatch) -> Batch:
        """One batch, on the device."""
        frames = self._frames(raw) if raw.sizes else None
        spectrogram = self._spectrogram(raw) if raw.sound.shape[1] else None
        return Batch(frames, spectrogram, raw.video_id.to(self.device, non_blocking=True))

    def _frames(self, raw: RawBatch) -> Tensor:
        pictures = raw.pictures(raw.pixels.to(self.device, non_blocking=True))
        views = [video_augment.draw_view(self.sampling, self.seed, raw.train_epoch, *draw) for draw in raw.draws]
        return video_augment.augment(pictures, views, self.sampling)

    def _spectrogram(self, raw: RawBatch) -> Tensor:
        sound = raw.sound.to(self.device, non_blocking=True)
        if self.front_end.volume_jitter:
            sound = sound.float() / 32768 * self._gains(raw).to(self.device)
        mel = normalise(self.log_mel(sound), *self.mel)
        shape = (mel.shape[2], mel.shape[3])
        masks = [
            spec_augment.draw_masks(self.front_end.specaug, shape, self.seed, raw.train_epoch, *draw)
            for draw in raw.draws
        ]
        return spec_augment.augment(mel, masks)

    def _gains(self, raw: RawBatch) -> Tensor:
        most = self.front_end.volume_jitter
        draws = (generator(self.seed, raw.train_epoch, index, Purpose.gain, take) for index, take in raw.draws)
        return torch.tensor([[draw.uniform(1 - most, 1 + most)] for draw in draws], dtype=torch.float32)
