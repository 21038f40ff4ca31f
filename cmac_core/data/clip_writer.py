"""Write a packed file: short-GOP H.264 and PCM in one MKV, and check what was written."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cmac_core.data.sound import RATE, Samples

# 40 ms: every packet starts on a whole millisecond, which is all that Matroska can say (PERFORMANCE 5.3.2).
PACKET = 960
MILLISECOND = Fraction(1, 1000)


class Picture(NamedTuple):
    """Size and coding of the written video."""

    width: int
    height: int
    fps: Fraction
    gop: int
    crf: int


class ClipWriter:
    """One packed file while it is written. Frames and sound come in order, each on the same clock."""

    def __init__(self, path: Path, picture: Picture | None, sound: bool) -> None:
        # bitexact leaves out random and dated fields: equal input gives equal bytes.
        self._container = av.open(str(path), "w", format="matroska", container_options={"fflags": "+bitexact"})
        self._video = self._add_video(picture) if picture else None
        self._audio = self._add_audio() if sound else None
        self._held = np.zeros(0, dtype=np.int16)
        self._audio_start: int | None = None
        self.frames = self.samples = 0
        self.first_ms = self.last_ms = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._container.close()

    def _add_video(self, picture: Picture) -> VideoStream:
        # Without CABAC and deblocking a frame is decoded in half the time, and files are a thirtieth larger.
        options = {"preset": "veryfast", "tune": "fastdecode", "crf": str(picture.crf), "bf": "0", "threads": "1"}
        options["flags"] = "+bitexact"
        # x264's lookahead gives other bytes now and then for the same frames.
        options["x264-params"] = "rc-lookahead=0:sync-lookahead=0:mbtree=0:weightp=0"
        stream = self._container.add_stream("libx264", rate=picture.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        context = stream.codec_context
        context.gop_size = picture.gop
        context.max_b_frames = 0
        context.time_base = MILLISECOND
        return stream

    def _add_audio(self) -> AudioStream:
        stream = self._container.add_stream("pcm_s16le", rate=RATE)
        assert isinstance(stream, AudioStream)
        context = cast(Any, stream.codec_context)
        context.layout = "mono"
        context.format = "s16"
        context.time_base = Fraction(1, RATE)
        return stream

    def write_frame(self, frame: VideoFrame, ms: int) -> None:
        """One yuv420p frame of the right size, later than the one before."""
        assert self._video is not None
        assert not self.frames or ms > self.last_ms
        frame.pts, frame.time_base = ms, MILLISECOND
        frame.pict_type = 0  # the source's key frames are not ours
        self._container.mux(self._video.encode(frame))
        self.first_ms = self.first_ms if self.frames else ms
        self.last_ms = ms
        self.frames += 1

    def write_sound(self, samples: Samples, start_ms: int) -> None:
        """Samples that follow those before; `start_ms` is where the first of all sounds."""
        self._audio_start = start_ms
        self._held = np.concatenate([self._held, samples])
        whole = len(self._held) // PACKET * PACKET
        for first in range(0, whole, PACKET):
            self._write_packet(self._held[first : first + PACKET])
        self._held = self._held[whole:]

    def finish(self) -> None:
        """Write what is still held back."""
        if len(self._held):
            self._write_packet(self._held)
        for stream in (self._video, self._audio):
            if stream is not None:
                self._container.mux(stream.encode(None))

    def _write_packet(self, samples: Samples) -> None:
        assert self._audio is not None
        assert self._audio_start is not None
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "s16", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = self._audio_start * RATE // 1000 + self.samples
        self._container.mux(self._audio.encode(frame))
        self.samples += len(samples)


class Written(NamedTuple):
    """What a file holds when it is read again: counts, and times in milliseconds."""

    frames: int
    samples: int
    video_start_ms: int
    video_last_ms: int
    audio_start_ms: int


def read_back(path: Path) -> Written:
    """Count the packets of a written file; nothing is decoded."""
    times: list[int] = []
    samples, audio_start = 0, None
    with av.open(str(path)) as container:
        for packet in container.demux():
            if not packet.size or packet.pts is None:
                continue
            ms = round(packet.pts * packet.time_base * 1000)
            if packet.stream.type == "video":
                times.append(ms)
            else:
                audio_start = ms if audio_start is None else audio_start
                samples += packet.size // 2
    return Written(len(times), samples, min(times, default=0), max(times, default=0), audio_start or 0)
