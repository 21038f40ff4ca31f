"""One media file into one packed clip (PERFORMANCE 5.3): decoded once, written, checked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from cmac_core.data.clip_writer import ClipWriter, Picture, Written, read_back
from cmac_core.data.media import (
    Faults,
    Rejected,
    audio_stream,
    cut_short,
    decoded,
    open_media,
    seconds_of,
    video_stream,
)
from cmac_core.data.sound import RATE, SILENT_DBFS, SoundTrack

VERSION = 2  # of what is written: a change makes clips of before be packed anew
MIN_SOUND_S = 0.1
BAD_PACKETS = 0.01  # a scratch; more than this is damage
MISSING_S, MISSING_SHARE = 0.3, 0.1  # of the header's duration: both together are a truncated file


@dataclass(frozen=True)
class Form:
    """How clips are written."""

    media: Literal["video", "audio"]
    short_side: int
    gop: int
    crf: int
    max_seconds: float


class Packed(NamedTuple):
    """What the manifest says of one written file; see `Clip`."""

    duration_s: float
    frames: int
    fps: float
    width: int
    height: int
    video_start_s: float
    samples: int
    sample_rate: int
    audio_start_s: float
    peak_dbfs: float | None
    silent: bool
    has_audio: bool


class _OutOfOrder(Exception):
    """Presentation times go back: those of XviD in AVI do; decode order is right."""


def pack_file(source: Path, target: Path, form: Form, alive: Callable[[], object] = lambda: None) -> Packed:
    """Decode `source` and write `target`; `alive` is called for each decoded frame.

    Both streams keep the container's clock: the earlier one starts at 0, the other where it was. Variable
    frame rates keep their times, rounded to milliseconds. Raises Rejected when the file cannot be a clip,
    OSError (ENOSPC, for one) when the target cannot be written.
    """
    with open_media(source) as container:
        streams = _streams(container, form)
        _check_length(container, form)
        try:
            packed = _Packing(source, target, form, alive, None).run(container, *streams)
        except _OutOfOrder:
            packed = None
    if packed is not None:
        return packed
    times = _times_in_decode_order(source)
    with open_media(source) as container:
        return _Packing(source, target, form, alive, times).run(container, *_streams(container, form))


def _streams(container: InputContainer, form: Form) -> tuple[VideoStream | None, AudioStream | None]:
    video = video_stream(container) if form.media == "video" else None
    audio = audio_stream(container)
    if form.media == "video" and video is None:
        raise Rejected("no_video", f"only {_kinds(container)}")
    if form.media == "audio" and audio is None:
        raise Rejected("no_audio", f"only {_kinds(container)}")
    return video, audio


def _kinds(container: InputContainer) -> str:
    return " and ".join(sorted({stream.type for stream in container.streams})) or "an empty container"


def _check_length(container: InputContainer, form: Form) -> None:
    seconds = (container.duration or 0) / 1e6
    if seconds > form.max_seconds:
        raise Rejected("too_long", f"{seconds:.1f} s; max_seconds is {form.max_seconds:g}")


def _times_in_decode_order(source: Path) -> Iterator[float]:
    """Times for frames whose own are out of order: the same times, sorted; one per frame in decode order."""
    with open_media(source) as container:
        video = video_stream(container)
        assert video is not None
        found = [frame.time for frame in decoded(container, [video], Faults())]
        start = seconds_of(video, video.start_time) or 0.0
        rate = float(video.average_rate or video.guessed_rate or 25)
    known = sorted({time for time in found if time is not None})
    if len(known) < len(found):  # some are missing or there twice: the rate is all that can be trusted
        return iter([start + i / rate for i in range(len(found))])
    return iter([start + time - known[0] for time in known])


class _Packing:
    """One pass over one file."""

    def __init__(
        self, source: Path, target: Path, form: Form, alive: Callable[[], object], times: Iterator[float] | None
    ) -> None:
        self._source, self._target, self._form, self._alive = source, target, form, alive
        self._times = times
        self._scaler = VideoReformatter()
        self._faults = Faults()
        self._seen: list[float] = []  # first and last time of a frame, seconds
        self._decoded_frames = 0

    def run(self, container: InputContainer, video: VideoStream | None, audio: AudioStream | None) -> Packed:
        """Write the target, then read it back."""
        streams = [stream for stream in (video, audio) if stream is not None]
        starts = [seconds_of(stream, stream.start_time or 0) or 0.0 for stream in streams]
        self._origin = min(starts)
        self._sound = SoundTrack(self._origin)
        frames = decoded(container, streams, self._faults)
        # The first frame tells the true size: headers may not know of a rotation or a crop.
        early, size, turn = self._until_first_picture(frames) if video else ([], None, 0)
        picture = self._picture(video, size) if video and size else None
        if video and picture is None:
            self._reject_undecodable(container, streams)
            raise Rejected("too_short", "no frame")
        with ClipWriter(self._target, picture, audio is not None) as writer:
            for frame in early:
                self._take(writer, frame, picture, turn)
            del early
            for frame in frames:
                self._take(writer, frame, picture, turn)
                self._alive()
            for samples in self._sound.flush():
                writer.write_sound(samples, self._sound.start_ms or 0)
            writer.finish()
        self._reject_undecodable(container, streams)
        return self._checked(writer, picture)

    def _until_first_picture(
        self, frames: Iterator[VideoFrame | AudioFrame]
    ) -> tuple[list[VideoFrame | AudioFrame], tuple[int, int] | None, int]:
        early: list[VideoFrame | AudioFrame] = []
        for frame in frames:
            early.append(frame)
            if isinstance(frame, VideoFrame):
                turn = round(frame.rotation / 90) % 4
                size = (frame.width, frame.height) if turn % 2 == 0 else (frame.height, frame.width)
                return early, size, turn
        return early, None, 0

    def _picture(self, video: VideoStream, size: tuple[int, int]) -> Picture:
        width, height = shrunk(*size, self._form.short_side)
        fps = video.average_rate or video.guessed_rate or Fraction(25)
        fps = fps if 1 <= fps <= 240 else Fraction(25)  # only a hint for the encoder
        return Picture(width, height, fps, self._form.gop, self._form.crf)

    def _take(self, writer: ClipWriter, frame: VideoFrame | AudioFrame, picture: Picture | None, turn: int) -> None:
        if isinstance(frame, AudioFrame):
            for samples in self._sound.feed(frame):
                assert self._sound.start_ms is not None
                writer.write_sound(samples, self._sound.start_ms)
            self._check_seconds(writer.samples / RATE)
            return
        assert picture is not None
        time = self._time(frame)
        ms = max(0, round(time * 1000))
        if writer.frames and ms <= writer.last_ms:
            return  # two frames at one time: over 1,000 frames a second, or written twice
        self._seen = [self._seen[0] if self._seen else time, time]
        self._check_seconds(time)
        writer.write_frame(self._scaled(frame, picture, turn), ms)

    def _time(self, frame: VideoFrame) -> float:
        """Seconds since the origin. Raises _OutOfOrder when the file's own times go back."""
        if self._times is not None:
            return next(self._times) - self._origin
        if frame.time is None or (self._seen and frame.time - self._origin < self._seen[1] - 1e-9):
            raise _OutOfOrder
        return frame.time - self._origin

    def _check_seconds(self, seconds: float) -> None:
        if seconds > self._form.max_seconds:
            raise Rejected("too_long", f"goes on after max_seconds, {self._form.max_seconds:g}")

    def _scaled(self, frame: VideoFrame, picture: Picture, turn: int) -> VideoFrame:
        width, height = (picture.height, picture.width) if turn % 2 else (picture.width, picture.height)
        # One matrix and one range for all clips, so that none depends on a player's guess.
        small = self._scaler.reformat(
            frame,
            width,
            height,
            "yuv420p" if not turn else "rgb24",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG if turn else ColorRange.MPEG,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        if not turn:
            return small
        upright = np.ascontiguousarray(np.rot90(small.to_ndarray(), turn)).astype(np.uint8, copy=False)
        return VideoFrame.from_ndarray(upright, "rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG, threads=1
        )

    def _reject_undecodable(self, container: InputContainer, streams: list[VideoStream | AudioStream]) -> None:
        missing = self._missing(container, streams)
        if missing or cut_short(self._source):
            raise Rejected("truncated", missing or "the file is shorter than its header says")
        if self._faults.worst > BAD_PACKETS:
            raise Rejected("decode_error", f"{self._faults.first}; {self._faults.worst:.1%} of the packets are bad")

    def _missing(self, container: InputContainer, streams: list[VideoStream | AudioStream]) -> str:
        """What a header promises and the file does not hold; empty when nothing is missing."""
        video_end = self._seen[1] if self._seen else 0.0
        ends = {"video": video_end, "audio": self._sound.until}
        for stream in streams:
            promised = seconds_of(stream, stream.duration)
            if promised is not None and _far(ends[stream.type], promised):
                return f"{stream.type} ends after {ends[stream.type]:.2f} of {promised:.2f} s"
        # Other streams than these may make a container longer than they are.
        promised = (container.duration or 0) / 1e6
        # Some containers count from their clock's zero, others from their first stream: only the later end tells.
        end = max(ends.values()) + max(0.0, self._origin)
        if len(container.streams) == len(streams) and _far(end, promised):
            return f"ends after {end:.2f} of {promised:.2f} s"
        return ""

    def _checked(self, writer: ClipWriter, picture: Picture | None) -> Packed:
        seconds = writer.samples / RATE
        if picture is not None and writer.frames < 2:
            raise Rejected("too_short", f"{writer.frames} frame")
        if picture is None and seconds < MIN_SOUND_S:
            raise Rejected("too_short", f"{seconds:.3f} s of sound")
        written = read_back(self._target)
        start_ms = self._sound.start_ms or 0
        expected = Written(writer.frames, writer.samples, writer.first_ms, writer.last_ms, start_ms)
        if written != expected:
            raise Rejected("decode_error", f"what was written does not read back: {written}, expected {expected}")
        return self._described(writer, picture)

    def _described(self, writer: ClipWriter, picture: Picture | None) -> Packed:
        has_audio = writer.samples / RATE >= MIN_SOUND_S
        fps = (writer.frames - 1) / (self._seen[1] - self._seen[0]) if picture else 0.0
        video_start, audio_start = writer.first_ms / 1000, (self._sound.start_ms or 0) / 1000
        ends = [video_start + writer.frames / fps] if picture else []
        ends += [audio_start + writer.samples / RATE] if has_audio else []
        return Packed(
            duration_s=round(max(ends), 6),
            frames=writer.frames,
            fps=round(fps, 6),
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            video_start_s=video_start,
            samples=writer.samples if has_audio else 0,
            sample_rate=RATE if has_audio else 0,
            audio_start_s=audio_start if has_audio else 0.0,
            peak_dbfs=self._sound.peak_dbfs if has_audio else None,
            silent=has_audio and self._sound.peak_dbfs < SILENT_DBFS,
            has_audio=has_audio,
        )


def _far(end: float, promised: float) -> bool:
    return promised - end > max(MISSING_S, MISSING_SHARE * promised)


def shrunk(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Even sizes with the short side at most `short_side`, never larger than they were (but for 1 pixel)."""
    scale = min(1.0, short_side // 2 * 2 / min(width, height))
    return _even(width, scale), _even(height, scale)


def _even(length: int, scale: float) -> int:
    return max(2, min(length // 2, round(length * scale / 2)) * 2)
