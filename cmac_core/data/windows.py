"""Cut a window of frames and sound out of a packed file, on the container's clock (METHOD 4).

Packed files have a key frame every few frames and PCM in packets that start on whole milliseconds, so
one seek and one short pass give frames that are right to the frame and sound that is exact to the sample.
"""

import errno
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from cmac_core.data.manifest import Clip

Frames = npt.NDArray[np.uint8]
Sound = npt.NDArray[np.int16]

# Seconds before a window at which decoding starts: one PCM packet, which Matroska's seek would skip
# when it began before the key frame.
LEAD = 0.045
# Windows closer than this are read in one pass: seeking costs about as much as decoding this much.
NEAR = 1.0


class BrokenClip(ValueError):
    """A packed file that cannot be read, or is not what its manifest says."""


class Window(NamedTuple):
    """What an encoder is shown: frames uint8 (T, H, W, 3) RGB and sound int16 (S,) mono."""

    frames: Frames | None
    sound: Sound | None


def read_window(
    path: Path,
    clip: Clip,
    t0: float,
    *,
    frames: int,
    fps: float,
    sample_rate: int,
    seconds: float | None = None,
    video: bool = True,
    audio: bool = True,
) -> Window:
    """The window that starts at `t0` seconds; see `read_windows`."""
    return read_windows(
        path,
        clip,
        [t0],
        frames=frames,
        fps=fps,
        sample_rate=sample_rate,
        seconds=seconds,
        video=video,
        audio=audio,
    )[0]


def read_windows(
    path: Path,
    clip: Clip,
    starts: Sequence[float],
    *,
    frames: int,
    fps: float,
    sample_rate: int,
    seconds: float | None = None,
    video: bool = True,
    audio: bool = True,
) -> list[Window]:
    """Windows of the packed file `path`, one for each start, in one pass over what they cover.

    Frame i is the one nearest in presentation time to t0 + i / fps; outside the stream the first or last
    one, and where the whole video is shorter than the window its frames are looped. The sound has
    round(seconds * sample_rate) samples from round((t0 - audio_start) * sample_rate) on, zeros outside the
    stream; `seconds` is frames / fps unless given. A stream that is not asked for, or not there, is None.

    Raises ValueError for a sample rate that is not the packed one, BrokenClip when the file is not readable.
    """
    seconds = frames / fps if seconds is None else seconds
    video, audio = video and clip.frames > 0, audio and clip.has_audio
    if audio and sample_rate != clip.sample_rate:
        raise ValueError(f"sample_rate: the clips are packed at {clip.sample_rate} Hz, not at {sample_rate}")
    wanted = [_wanted(clip, t0, frames if video else 0, fps, seconds if audio else 0.0) for t0 in starts]
    windows: dict[int, Window] = {}
    with _opened(path, clip, video) as container:
        streams = _streams(container, clip, video, audio)
        for group in _groups(wanted):
            stretch = _read(container, clip, [wanted[i] for i in group], streams)
            windows.update((i, stretch.window(wanted[i])) for i in group)
    return [windows[i] for i in range(len(wanted))]


def read_whole(path: Path, clip: Clip, *, video: bool = True, audio: bool = True) -> "Stretch":
    """All frames, as RGB, and all sound of a packed file, to cut windows from. Raises BrokenClip."""
    video, audio = video and clip.frames > 0, audio and clip.has_audio
    samples = clip.samples if audio else 0
    everything = _Wanted(np.zeros(0), 0, samples, min(clip.video_start_s, clip.audio_start_s), math.inf)
    with _opened(path, clip, video) as container:
        stretch = _read(container, clip, [everything], _streams(container, clip, video, audio))
        stretch.develop()
    return stretch


# Packed clips say in their header all that a decoder needs: nothing is guessed from their first packets, and no
# decoder is tried out on those where no picture is asked for. That is most of the time of opening one.
_PROBE = {"probesize": "32"}
_SOUND_ALONE: list[Any] = [{"skip_frame": "all"}, {}]


@contextmanager
def _opened(path: Path, clip: Clip, video: bool) -> Iterator[InputContainer]:
    try:
        tried = None if video else _SOUND_ALONE
        with av.open(
            str(path), format="matroska", container_options=_PROBE, stream_options=tried, metadata_errors="ignore"
        ) as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # too many open files: the machine's fault, no clip's
        raise BrokenClip(f"{clip.id}: {error}") from error


class _Wanted(NamedTuple):
    """One window: the times of its frames, where its sound begins, how long that is; empty when not asked for."""

    times: npt.NDArray[np.float64]
    first_sample: int
    samples: int
    start: float  # of what has to be read, seconds
    end: float


def _wanted(clip: Clip, t0: float, frames: int, fps: float, seconds: float) -> _Wanted:
    times = _looped(t0 + np.arange(frames) / fps, clip, frames / fps) if frames else np.zeros(0)
    rate = clip.sample_rate or 1
    first, samples = round((t0 - clip.audio_start_s) * rate), round(seconds * rate)
    edges = times.tolist()
    if samples:
        begin = clip.audio_start_s + first / rate
        edges += [begin, begin + samples / rate]
    return _Wanted(times, first, samples, min(edges, default=t0), max(edges, default=t0))


def _looped(times: npt.NDArray[np.float64], clip: Clip, seconds: float) -> npt.NDArray[np.float64]:
    """Times folded back into a video that is shorter than the window (METHOD 7.1: loop frames)."""
    length = clip.frames / clip.fps
    # Half a frame of grace: a video of exactly the window's length is not shorter than it.
    if seconds <= length + 0.5 / clip.fps:
        return times
    return np.where(times < clip.video_start_s, times, clip.video_start_s + (times - clip.video_start_s) % length)


def _groups(wanted: Sequence[_Wanted]) -> list[list[int]]:
    """Indices of windows that overlap or nearly do, in order of time."""
    groups: list[list[int]] = []
    end = -math.inf
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i].start):
        if not groups or wanted[i].start > end + NEAR:
            groups.append([])
        groups[-1].append(i)
        end = max(end, wanted[i].end)
    return groups


class Stretch:
    """What was decoded of a file: frames with their times, and all its sound from one sample on."""

    def __init__(self, clip: Clip, first_sample: int, samples: int) -> None:
        self._clip = clip
        self._frames: list[VideoFrame] = []
        self._times: list[float] = []
        self._rgb: dict[int, Frames] = {}
        self._to_rgb = VideoReformatter()
        self._sound: Sound = np.zeros(samples, dtype=np.int16)
        self._first = first_sample
        self.heard_until = first_sample

    @property
    def seen_until(self) -> float:
        return self._times[-1] if self._times else -math.inf

    def see(self, frame: VideoFrame) -> None:
        self._times.append(frame.time)
        self._frames.append(frame)

    def hear(self, first: int, samples: Sound) -> None:
        """A packet whose first sample has this number in the stream; what lies outside is left away."""
        low, high = max(first, self._first), min(first + len(samples), self._first + len(self._sound))
        if low < high:
            self._sound[low - self._first : high - self._first] = samples[low - first : high - first]
        self.heard_until = first + len(samples)

    def develop(self) -> None:
        """Convert every frame, and let go of what they were decoded to."""
        for i in range(len(self._frames)):
            self._picture(i)
        self._frames.clear()

    def windows(self, starts: Sequence[float], frames: int, fps: float) -> list[Window]:
        """Windows of `frames` frames, with their sound, of what was read whole."""
        wants, hears = bool(self._rgb), len(self._sound) > 0
        seconds = frames / fps if hears else 0.0
        return [self.window(_wanted(self._clip, t0, frames if wants else 0, fps, seconds)) for t0 in starts]

    def window(self, wanted: _Wanted) -> Window:
        """Cut one window out; its frames are converted here, each once. Outside what was read is silence."""
        frames, sound = None, None
        if len(wanted.times):
            if not self._times:
                raise BrokenClip(f"{self._clip.id}: no frame around {wanted.start:.3f} s")
            frames = np.stack([self._picture(i) for i in nearest(np.array(self._times), wanted.times)])
        if wanted.samples:
            low, high = wanted.first_sample - self._first, wanted.first_sample - self._first + wanted.samples
            sound = np.zeros(wanted.samples, dtype=np.int16)
            heard = self._sound[max(low, 0) : max(high, 0)]
            sound[max(-low, 0) : max(-low, 0) + len(heard)] = heard
        return Window(frames, sound)

    def _picture(self, i: int) -> Frames:
        if i not in self._rgb:
            rgb = self._to_rgb.reformat(self._frames[i], format="rgb24", threads=1).to_ndarray()
            self._rgb[i] = rgb.astype(np.uint8, copy=False)  # it is: rgb24 has one byte a value
        return self._rgb[i]


def nearest(times: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> list[int]:
    """For each wanted time the index of the nearest of `times` (rising); the earlier one on a tie."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    if len(times) == 1:
        return [0] * len(wanted)
    # Times are whole milliseconds: a hair less than that decides no tie.
    later = times[after] - wanted < wanted - times[before] - 1e-6
    return [int(i) for i in np.where(later, after, before)]


def _read(container: InputContainer, clip: Clip, wanted: list[_Wanted], streams: list[Stream]) -> Stretch:
    """Decode one stretch of the file that covers these windows."""
    first = min(one.first_sample for one in wanted)
    last = max(one.first_sample + one.samples for one in wanted)
    start, end = min(one.start for one in wanted), max(one.end for one in wanted)
    stretch = Stretch(clip, first, last - first)
    if not streams:
        return stretch
    kinds = {stream.type for stream in streams}
    stream = (*container.streams.video, *streams)[0]  # the index is of its key frames: without, all is read through
    assert stream.time_base is not None
    container.seek(max(0, math.floor((start - LEAD) / stream.time_base)), stream=stream)
    for packet in container.demux(*streams):
        if isinstance(packet.stream, VideoStream):
            for frame in packet.decode():
                assert isinstance(frame, VideoFrame)
                stretch.see(frame)
        elif packet.size and packet.pts is not None and packet.time_base is not None:
            seconds = packet.pts * packet.time_base.numerator / packet.time_base.denominator
            number = round((seconds - clip.audio_start_s) * clip.sample_rate)
            stretch.hear(number, np.frombuffer(bytes(packet), dtype="<i2"))
        if ("video" not in kinds or stretch.seen_until >= end) and (
            "audio" not in kinds or stretch.heard_until >= last
        ):
            break
    return stretch


def _streams(container: InputContainer, clip: Clip, video: bool, audio: bool) -> list[Stream]:
    """The streams to read; decoding stays on this thread, loaders have a process per core."""
    if (video and not container.streams.video) or (audio and not container.streams.audio):
        raise BrokenClip(f"{clip.id}: the file has not the streams that its manifest says")
    if video:
        container.streams.video[0].thread_type = "NONE"
    return [*(container.streams.video[:1] if video else ()), *(container.streams.audio[:1] if audio else ())]
