"""A dozen of a dataset's clips as browsers play them: no browser plays the PCM of packed files (RULINGS 27)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from cmac_core.data.manifest import Clip

COUNT = 12
SECONDS = 10.0  # of each: to see what there is, not to watch it all


def chosen(clips: Sequence[Clip], column: str | None, count: int = COUNT) -> list[Clip]:
    """At most `count` clips, spread evenly over the values of `column` (classes) and then over ids."""
    ordered = sorted(clips, key=lambda clip: (clip.labels.get(column, "") if column else "", clip.id))
    picked = min(count, len(ordered))
    return [ordered[i * len(ordered) // picked] for i in range(picked)]


def write_sample(source: Path, target: Path) -> None:
    """The first seconds of a packed file as MP4: its H.264 as it is, its sound as AAC, the index in front."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(source)) as packed, av.open(str(target), "w", format="mp4", options=options) as sample:
        _convert(packed, sample)


def _convert(packed: InputContainer, sample: OutputContainer) -> None:
    into: dict[int, Stream] = {}
    for stream in packed.streams:
        if stream.type == "video":
            into[stream.index] = sample.add_stream_from_template(stream)
        else:
            rate = cast(AudioStream, stream).rate
            into[stream.index] = sample.add_stream("aac", rate=rate, layout="mono")
    for packet in packed.demux():
        if packet.pts is None or packet.pts * packet.time_base >= SECONDS:
            continue
        target = into[packet.stream.index]
        if packet.stream.type == "video":
            packet.stream = target
            sample.mux(packet)
        else:
            for frame in _sound(packet.decode()):
                sample.mux(cast(AudioStream, target).encode(frame))
    for target in into.values():
        if target.type == "audio":
            sample.mux(cast(AudioStream, target).encode(None))


def _sound(frames: Sequence[object]) -> Iterator[AudioFrame]:
    for frame in frames:
        assert isinstance(frame, AudioFrame)
        yield frame
