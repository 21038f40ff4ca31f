"""Open media files of any origin with PyAV, choose their streams, and decode what can be decoded."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cmac_core.data.manifest import QuarantineReason

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".divx", ".flv", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".au", ".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
)
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES

# A file that names other files or addresses is not media, and must not make us read those.
PLAYLISTS = {"hls", "concat", "dash", "imf", "applehttp", "sdp", "rtsp"}
BEGINNINGS = {b"ftyp": 4, b"\x1aE\xdf\xa3": 0, b"RIFF": 0, b"OggS": 0}  # of containers, and where they stand


class Rejected(Exception):
    """A file is not packed, for a reason that its owner can act on."""

    def __init__(self, reason: QuarantineReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: QuarantineReason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Rejected"], tuple[QuarantineReason, str]]:
        return Rejected, (self.reason, self.detail)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """The file as a container. Raises Rejected (not_media, truncated, decode_error) when it is none."""
    try:
        # Names in HMDB51 and old AVIs are not UTF-8.
        options = {"protocol_whitelist": "file"}
        container = av.open(str(path), metadata_errors="ignore", container_options=options)
    except av.FFmpegError as error:
        raise _unopened(path, error) from error
    with container:
        if PLAYLISTS & set(container.format.name.split(",")):
            raise Rejected("not_media", f"a playlist ({container.format.name}) that names other files")
        yield container


def _unopened(path: Path, error: av.FFmpegError) -> Rejected:
    if error.errno in (errno.EACCES, errno.EIO):
        return Rejected("decode_error", f"could not be read: {error.strerror}")
    if error.errno == errno.ENOENT:
        return Rejected("missing_file")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return Rejected("not_media", "an empty file")
    if any(head[at : at + len(mark)] == mark for mark, at in BEGINNINGS.items()):
        return Rejected("truncated", "begins like media, but the part that says how to read it is missing")
    return Rejected("not_media", "no container that FFmpeg knows")


def video_stream(container: InputContainer) -> VideoStream | None:
    """The best picture stream; cover art is none."""
    found = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    chosen = best if best in found else next(iter(found), None)
    assert chosen is None or isinstance(chosen, VideoStream)
    return chosen


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The best sound stream."""
    best = container.streams.best("audio")
    assert best is None or isinstance(best, AudioStream)
    return best


@dataclass
class Faults:
    """How many packets of each stream were read, and how many of them could not be decoded."""

    packets: dict[int, int] = field(default_factory=dict)
    bad: dict[int, int] = field(default_factory=dict)
    first: str = ""

    def count(self, stream: int, error: av.FFmpegError | None = None) -> None:
        """One packet, decoded or (with an error) not."""
        self.packets[stream] = self.packets.get(stream, 0) + 1
        if error is not None:
            self.bad[stream] = self.bad.get(stream, 0) + 1
            self.first = self.first or f"{error.strerror} (packet {self.packets[stream]})"

    @property
    def worst(self) -> float:
        """The largest share of bad packets in any stream."""
        return max((bad / self.packets[stream] for stream, bad in self.bad.items()), default=0.0)


def decoded(
    container: InputContainer, streams: list[VideoStream | AudioStream], faults: Faults
) -> Iterator[VideoFrame | AudioFrame]:
    """All frames of the streams in decode order. Bad packets are passed over and counted in `faults`."""
    for stream in streams:
        stream.codec_context.thread_type = "NONE"
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:  # the container breaks off here
            faults.count(streams[0].index, error)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            faults.count(packet.stream.index, error)
            continue
        faults.count(packet.stream.index)
        for frame in frames:
            assert isinstance(frame, VideoFrame | AudioFrame)
            yield frame


def cut_short(path: Path) -> bool:
    """Whether a RIFF file (AVI, WAV) is shorter than its header says: FFmpeg takes the file's own end there."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] != b"RIFF":
        return False
    promised = int.from_bytes(head[4:8], "little")
    # 0 and the largest value are what programs write that do not know the size yet.
    return 0 < promised < 0xFFFFFF00 and path.stat().st_size < 0.95 * (promised + 8)


def seconds_of(stream: VideoStream | AudioStream, pts: int | None) -> float | None:
    """A time of the stream in seconds; None stays None."""
    return None if pts is None or stream.time_base is None else float(pts * stream.time_base)
