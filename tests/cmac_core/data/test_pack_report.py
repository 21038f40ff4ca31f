"""What a pack says of its data, against counts that are written out."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cmac_core.data.manifest import Clip, Quarantined
from cmac_core.data.pack_report import Pace, class_column, counts_of, spreads_of
from cmac_core.data.report_picture import draw_report


def clip(number: int, **changes: Any) -> Clip:
    values: dict[str, Any] = {
        "id": f"c/{number}", "path": "p", "sha256": "", "bytes": 100, "source": "s", "duration_s": float(number),
        "frames": 8, "fps": 25.0, "width": 64, "height": 48, "has_audio": True, "peak_dbfs": -float(number),
        "labels": {"class": "cat" if number < 4 else "dog", "youtube_id": str(number)},
    }  # fmt: skip
    return Clip(**values | changes)


CLIPS = [
    *(clip(number) for number in range(1, 9)),
    clip(9, has_audio=False, peak_dbfs=None),
    clip(10, silent=True, peak_dbfs=-84.0, width=48, height=64),
]
QUARANTINED = [
    Quarantined(source=reason, reason=reason)
    for reason in ("missing_file", "missing_file", "truncated", "not_media", "too_short", "duplicate")
]


def test_every_file_is_counted_once_and_for_what_it_is() -> None:
    assert counts_of(CLIPS, QUARANTINED) == {
        "listed": 16, "packed": 10, "without_sound": 1, "silent": 1, "left_out": 6, "broken": 2,
        "missing_file": 2, "truncated": 1, "not_media": 1, "too_short": 1, "duplicate": 1,
    }  # fmt: skip


def test_histograms_hold_every_clip_and_ids_are_no_classes() -> None:
    spreads = spreads_of(CLIPS)
    durations = spreads["histograms"]["duration_s"]
    assert (sum(durations["counts"]), durations["min"], durations["median"], durations["max"]) == (10, 1.0, 5.5, 10.0)
    assert (durations["edges"][0], durations["edges"][-1]) == (1.0, 10.0)
    assert len(durations["edges"]) == len(durations["counts"]) + 1
    assert sum(spreads["histograms"]["peak_dbfs"]["counts"]) == 9  # one has no sound
    assert spreads["histograms"]["peak_dbfs"]["min"] == -84.0
    assert spreads["frame_sizes"] == {"64x48": 9, "48x64": 1}
    assert spreads["clips_of"] == {"class": {"dog": 7, "cat": 3}}
    assert class_column(spreads) == "class"


def test_throughput_counts_what_this_run_has_done() -> None:
    assert Pace(files=30, media_s=120.0, seconds=60.0, workers=2).told() == {
        "files": 30, "media_s": 120.0, "seconds": 60.0, "workers": 2, "files_per_s": 0.5, "media_s_per_s": 2.0,
    }  # fmt: skip
    assert "files_per_s" not in Pace(workers=2).told()


def colors(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as picture:
        return {tuple(color) for color in np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)}


def test_the_picture_shows_bars_and_is_smaller_for_sound_alone(tmp_path: Path) -> None:
    draw_report(tmp_path / "video.png", "video", counts_of(CLIPS, QUARANTINED), spreads_of(CLIPS))
    sound = [clip(number, frames=0, fps=0.0, width=0, height=0, labels={}) for number in range(3)]
    draw_report(tmp_path / "sound.png", "sound", counts_of(sound, []), spreads_of(sound))
    blue, orange = (0x17, 0x69, 0xAA), (0xD9, 0x82, 0x2B)
    assert {blue, orange} <= colors(tmp_path / "video.png")
    with Image.open(tmp_path / "video.png") as video, Image.open(tmp_path / "sound.png") as alone:
        assert video.height > alone.height
