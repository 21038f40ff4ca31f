"""What a step is made of as it comes from the files, before any view of it is drawn."""

from typing import NamedTuple

from torch import Tensor


class RawBatch(NamedTuple):
    """One rank's clips of a step as they come from the files; a video's clips are neighbours."""

    pixels: Tensor  # uint8, all frames end to end: one block of shared memory, whatever the clips' sizes
    sizes: list[tuple[int, int]]  # height and width of each clip; empty without video
    sound: Tensor  # int16 (B, S); (B, 0) without audio
    draws: list[tuple[int, int]]  # of each clip: the index and the take that its random numbers are drawn by
    video_id: Tensor  # int64 (B,): index in the dataset of the clip that was read
    train_epoch: int
    frames: int  # of each clip

    def pictures(self, pixels: Tensor) -> list[Tensor]:
        """Views (T, H, W, 3), clip by clip, into `pixels`: this batch's, or their copy on a device."""
        counts = [self.frames * height * width * 3 for height, width in self.sizes]
        return [
            part.view(self.frames, height, width, 3)
            for part, (height, width) in zip(pixels.split(counts), self.sizes, strict=True)
        ]

    def pin_memory(self) -> "RawBatch":
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return self._replace(pixels=self.pixels.pin_memory(), sound=self.sound.pin_memory())
