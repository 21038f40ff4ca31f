"""Which clips are shown, and the count of those that are not."""

from pathlib import Path

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.eligible import eligible
from cmac_core.data.manifest import Clip, Summary


def clip(name: str, **changes: object) -> Clip:
    fields: dict[str, object] = {
        "id": name, "path": name, "sha256": "", "bytes": 1, "source": name, "duration_s": 2.0,
        "frames": 50, "fps": 25.0, "samples": 48_000, "sample_rate": 24_000, "has_audio": True,
    }  # fmt: skip
    return Clip.model_validate(fields | changes)


CLIPS = [
    clip("good"),
    clip("mute", has_audio=False, samples=0),
    clip("silent", silent=True),
    clip("short", frames=24),
    clip("apart", audio_start_s=1.5),  # each stream is long enough, what they share is not
    clip("sound", frames=0),
    clip("just", frames=25, samples=24_000),
]


def dataset() -> PackedDataset:
    summary = Summary(
        media="video", manifest_sha256="", clips=7, quarantined=0, hours=0, bytes=7, with_audio=6, silent=1, labels={}
    )
    return PackedDataset(Path(), CLIPS, summary)


def test_clips_without_a_common_window_are_left_out_and_counted() -> None:
    shown = eligible(dataset(), 1.0, video=True, audio=True, silent="drop")
    assert [CLIPS[i].id for i in shown.indices] == ["good", "just"]
    assert (shown.no_video, shown.no_sound, shown.silent, shown.too_short) == (1, 1, 1, 2)
    assert str(shown) == "2 clips; left out: 1 no video, 1 no sound, 1 silent, 2 too short"


def test_silence_matters_only_to_those_who_listen() -> None:
    names = [CLIPS[i].id for i in eligible(dataset(), 1.0, video=True, audio=False, silent="drop").indices]
    assert names == ["good", "mute", "silent", "apart", "just"]
    names = [CLIPS[i].id for i in eligible(dataset(), 1.0, video=True, audio=True, silent="keep").indices]
    assert names == ["good", "silent", "just"]
