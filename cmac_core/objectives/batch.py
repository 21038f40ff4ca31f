"""What a step is made of: which modalities, how many clips of how many videos, in which rows."""

from typing import NamedTuple

from torch import Tensor

from cmac_core.models.branch import Modality
from cmac_core.specs.jobs import Pretrain


class Batch(NamedTuple):
    """A rank's slice of a step, on the device. Two clips of one video are neighbours: rows 2i and 2i + 1."""

    frames: Tensor | None  # (B, 3, T, H, W) normalised; None for single_a
    spectrogram: Tensor | None  # (B, 1, F, T) normalised; None for single_v
    video_id: Tensor  # (B,) int64: the video's index in the dataset, >= 0

    def every_other(self, first: int) -> "Batch":
        """One clip of each video: the queries (0) or the keys (1) of a single-modal run (A13)."""
        frames, spectrogram = (rows if rows is None else rows[first::2] for rows in self[:2])
        return Batch(frames, spectrogram, self.video_id[first::2])


def modalities(spec: Pretrain) -> tuple[Modality, ...]:
    """What a run looks at: both, or the one of single_v and single_a."""
    match spec.objective:
        case "cmac":
            return ("video", "audio")
        case "single_v":
            return ("video",)
        case "single_a":
            return ("audio",)


def clips_per_video(spec: Pretrain) -> int:
    """2 when a step needs two clips of each video (wi_pos, single_v, single_a), else 1."""
    return 2 if spec.objective != "cmac" or spec.contrastive.wi_pos else 1


def videos_per_step(spec: Pretrain) -> int:
    """Videos in a step over all ranks; `optim.batch` counts queries (wi_pos: both clips are; single: one is)."""
    return spec.optim.batch // 2 if spec.contrastive.wi_pos else spec.optim.batch
