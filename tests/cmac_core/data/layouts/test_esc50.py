"""ESC-50 by its genuine table: official folds, ESC-10, and names that say the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cmac_core.data.layouts.trees import UCF101, copied, counted, edited, listed
from tests.cmac_core.data.made_media import SHARED, needs_shared

pytestmark = needs_shared


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(SHARED / "esc50" / "meta", tmp_path / "meta")
    (tmp_path / "audio").symlink_to(SHARED / "esc50" / "audio")
    return tmp_path


def test_the_genuine_set_has_2000_rows_in_five_folds(tmp_path: Path) -> None:
    items = listed(SHARED / "esc50", "esc50")
    assert len(items) == 2000
    assert counted(items, "fold") == {str(fold): 400 for fold in range(1, 6)}
    assert set(counted(items, "class").values()) == {40}
    there = [item for item in items if item.path]
    assert (len(there), sum(item.labels["esc10"] == "True" for item in there)) == (552, 400)
    (dog,) = [item for item in items if item.id == "audio/1-100032-A-0"]
    assert dog.source == "audio/1-100032-A-0.ogg"
    assert dog.labels == {
        "class": "dog", "category": "dog", "target": "0", "fold": "1", "esc10": "True", "src_file": "100032",
        "take": "A",
    }  # fmt: skip


ROW = "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
CHANGES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text.replace(ROW, ""), r"rows in esc50\.csv: found 1999, expected 2000"),
    (lambda text: text.replace(ROW, ROW.replace("wav,1", "wav,2")), "line 2: 1-100032-A-0.wav does not say fold 2"),
    (lambda text: text.replace(ROW, ROW.replace("dog", "cat")), "by target and category: found 51, expected 50"),
    (lambda text: text.replace(ROW, ROW.replace("True", "False")), "clips of ESC-10: found 399, expected 400"),
    (lambda text: text.replace("category", "label", 1), "it has no column category"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_table_that_was_changed_says_where(change: Callable[[str], str], words: str, tmp_path: Path) -> None:
    edited(copied(SHARED / "esc50" / "meta", tmp_path / "meta") / "esc50.csv", change)
    with pytest.raises(ValueError, match=words):
        listed(tmp_path, "esc50")


def test_a_table_under_its_name_may_be_another_sets(tmp_path: Path) -> None:
    meta = copied(SHARED / "esc50" / "meta", tmp_path / "meta")
    (meta / "esc50.csv").write_bytes((UCF101 / "trainlist01.txt").read_bytes())
    with pytest.raises(ValueError, match=r"esc50\.csv is a list of UCF101, not of ESC-50"):
        listed(tmp_path, "esc50")
