"""Small sets decoded once: whole clips kept in memory, from which windows are cut as from their files."""

from collections.abc import Sequence
from pathlib import Path

from cmac_core.data.manifest import Clip
from cmac_core.data.windows import BrokenClip, Stretch, Window, read_whole, read_windows

GIGABYTE = 10**9


def decoded_bytes(clips: Sequence[Clip], video: bool, audio: bool) -> int:
    """What these clips take when all their frames and samples are kept."""
    pixels = sum(clip.frames * clip.width * clip.height * 3 for clip in clips) if video else 0
    samples = sum(clip.samples for clip in clips if clip.has_audio) if audio else 0
    return pixels + 2 * samples


class Memory:
    """Clips by path. One that cannot be read whole is read from its file each time: a window of it may be sound."""

    def __init__(self, video: bool, audio: bool) -> None:
        self._video, self._audio = video, audio
        self._kept: dict[Path, Stretch] = {}
        self._unkept: set[Path] = set()

    def windows(self, path: Path, clip: Clip, starts: Sequence[float], frames: int, fps: float) -> list[Window]:
        """What `read_windows` gives for the streams kept here, of clips at their own sample rate."""
        if path not in self._kept and path not in self._unkept:
            try:
                self._kept[path] = read_whole(path, clip, video=self._video, audio=self._audio)
            except BrokenClip:
                self._unkept.add(path)
        if path in self._kept:
            return self._kept[path].windows(starts, frames, fps)
        streams = {"video": self._video, "audio": self._audio}
        return read_windows(path, clip, starts, frames=frames, fps=fps, sample_rate=clip.sample_rate, **streams)
