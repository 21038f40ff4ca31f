"""The generated corpus that serves where nobody has given data."""

from typing import Any

from cmac_core.specs.experiment import GENERATED

CLIPS = 500


def pack_generated(clips: int) -> dict[str, Any]:
    """Sounding objects of the grade that two cores learn in minutes."""
    source = {"generate": "sounding-objects", "grade": "easy", "clips": clips, "size": 80, "seconds": 2, "fps": 8}
    return {"kind": "pack", "name": "demo corpus", "dataset": GENERATED, "source": source}
