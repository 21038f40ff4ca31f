"""Which clips a pretraining may show, and why the others are left out."""

from typing import Literal, NamedTuple

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.manifest import Clip

SLACK = 1e-3  # seconds: containers round times to milliseconds


class Eligible(NamedTuple):
    """Indices of the clips that may be shown, and how many were left out for each reason."""

    indices: list[int]
    no_video: int
    no_sound: int
    silent: int
    too_short: int

    def __str__(self) -> str:
        reasons = {name.replace("_", " "): n for name, n in self._asdict().items() if name != "indices" and n}
        left_out = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
        return f"{len(self.indices)} clips" + (f"; left out: {left_out}" if left_out else "")


def eligible(
    dataset: PackedDataset, seconds: float, video: bool, audio: bool, silent: Literal["drop", "keep"]
) -> Eligible:
    """Clips whose needed streams have a common window of `seconds`; silent ones only when sound is not looked at
    or they are to be kept: two silences are equal, so each would be the other's false negative (RULINGS 7)."""
    why = [_fault(clip, seconds, video, audio, silent == "drop") for clip in dataset.clips]
    return Eligible(
        [i for i, fault in enumerate(why) if fault is None],
        *(why.count(fault) for fault in ("no_video", "no_sound", "silent", "too_short")),
    )


def _fault(clip: Clip, seconds: float, video: bool, audio: bool, drop_silent: bool) -> str | None:
    if video and not clip.frames:
        return "no_video"
    if audio and not clip.has_audio:
        return "no_sound"
    if audio and drop_silent and clip.silent:
        return "silent"
    return "too_short" if _common_seconds(clip, video, audio) < seconds - SLACK else None


def _common_seconds(clip: Clip, video: bool, audio: bool) -> float:
    """How long the needed streams last together."""
    spans = []
    if video:
        spans.append((clip.video_start_s, clip.video_start_s + clip.frames / clip.fps))
    if audio:
        spans.append((clip.audio_start_s, clip.audio_start_s + clip.samples / clip.sample_rate))
    return min(end for _, end in spans) - max(start for start, _ in spans)
