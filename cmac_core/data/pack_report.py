"""What a pack says of its data: how many files ended how, how the clips are spread, how fast it went."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cmac_core.data.manifest import Clip, Quarantined

REPORT = "pack-report.json"
BROKEN = ("not_media", "decode_error", "truncated")
BINS = 24
SIZES = 12  # frame sizes told one by one
QUANTILES = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}


class Pace(NamedTuple):
    """What one run has packed, and in which time. Files that were packed before it do not count."""

    files: int = 0
    media_s: float = 0.0
    seconds: float = 0.0
    workers: int = 0

    def told(self) -> dict[str, float]:
        """With rates: files, and seconds of media, in a second."""
        spent = max(self.seconds, 1e-9)
        rates = {"files_per_s": round(self.files / spent, 3), "media_s_per_s": round(self.media_s / spent, 3)}
        whole = {"files": self.files, "media_s": round(self.media_s, 3), "seconds": round(self.seconds, 3)}
        return {**whole, "workers": self.workers, **(rates if self.files else {})}


def counts_of(clips: Sequence[Clip], quarantined: Sequence[Quarantined]) -> dict[str, int]:
    """How many files were listed, packed, without sound, silent, broken; and each reason for which one was left out."""
    reasons = Counter(str(one.reason) for one in quarantined)
    return {
        "listed": len(clips) + len(quarantined),
        "packed": len(clips),
        "without_sound": sum(not clip.has_audio for clip in clips),
        "silent": sum(clip.silent for clip in clips),
        "left_out": len(quarantined),
        "broken": sum(reasons[reason] for reason in BROKEN),
        **dict(reasons.most_common()),
    }


def spreads_of(clips: Sequence[Clip]) -> dict[str, Any]:
    """Histograms (edges and counts) and quantiles of what clips differ in, frame sizes, and clips of each label."""
    measured = {
        "duration_s": [clip.duration_s for clip in clips],
        "fps": [clip.fps for clip in clips if clip.frames],
        "short_side_px": [float(min(clip.width, clip.height)) for clip in clips if clip.frames],
        "bytes": [float(clip.bytes) for clip in clips],
        "peak_dbfs": [clip.peak_dbfs for clip in clips if clip.peak_dbfs is not None],
    }
    sizes = Counter(f"{clip.width}x{clip.height}" for clip in clips if clip.frames)
    columns = sorted({column for clip in clips for column in clip.labels})
    labels = {column: Counter(clip.labels[column] for clip in clips if column in clip.labels) for column in columns}
    return {
        "histograms": {name: _histogram(values) for name, values in measured.items() if values},
        "frame_sizes": dict(sizes.most_common(SIZES)),
        # A column with a value for each clip, such as an id, is no class.
        "clips_of": {name: dict(found.most_common()) for name, found in labels.items() if _is_grouping(found, clips)},
    }


def class_column(spreads: dict[str, Any]) -> str | None:
    """The column whose clips are worth a picture: class, or the one with the most values."""
    found: dict[str, dict[str, int]] = spreads["clips_of"]
    return "class" if "class" in found else max(found, key=lambda name: len(found[name]), default=None)


def _is_grouping(found: "Counter[str]", clips: Sequence[Clip]) -> bool:
    return len(found) <= max(2, len(clips) // 2)


def _histogram(values: Sequence[float]) -> dict[str, Any]:
    counts, edges = np.histogram(values, bins=BINS)
    quantiles = {name: round(float(np.quantile(values, share)), 4) for name, share in QUANTILES.items()}
    return {"edges": [round(float(edge), 4) for edge in edges], "counts": counts.tolist(), **quantiles}
