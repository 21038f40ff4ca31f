"""VGGSound by its own list, or by the lists of training and test files."""

import csv
from pathlib import Path

import pytest

from tests.cmac_core.data.layouts.trees import ANNOTATIONS, copied, counted, edited, listed, touch
from tests.cmac_core.data.made_media import needs_shared

pytestmark = needs_shared
CLIP = "glLQrEijrKg_000300"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(ANNOTATIONS / "vggsound", tmp_path / "data")
    return touch(tmp_path, f"video/{CLIP}.mp4")


def test_the_test_list_has_15446_videos_of_309_classes(root: Path) -> None:
    items = listed(root, "vggsound")
    assert (len(items), len(counted(items, "class")), counted(items, "split")) == (15_446, 309, {"test": 15_446})
    (there,) = [item for item in items if item.path]
    assert there.labels == {
        "class": "playing hammond organ", "split": "test", "youtube_id": "glLQrEijrKg", "time_start": "300",
    }  # fmt: skip
    assert not any("\r" in item.labels["class"] for item in items)


def test_the_authors_own_list_says_the_same(root: Path) -> None:
    with (root / "data" / "test.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    lines = [f'{name[:11]},{int(name[12:18])},"{label}",test' for name, label in rows]
    before = listed(root, "vggsound")
    (root / "data" / "vggsound.csv").write_text("\n".join(lines))
    assert listed(root, "vggsound") == before
    (root / "data" / "vggsound.csv").write_text("\n".join(lines[1:]))
    with pytest.raises(ValueError, match="test videos: found 15445, expected 15446"):
        listed(root, "vggsound")


def test_what_is_no_row_of_it_is_named(root: Path) -> None:
    edited(root / "data" / "test.csv", lambda text: text.replace(f"{CLIP}.mp4,", f"{CLIP}.mp4;", 1))
    with pytest.raises(ValueError, match=r"test\.csv, line 1: expected 'id,start,label,split', or .*, found 'glLQ"):
        listed(root, "vggsound")
