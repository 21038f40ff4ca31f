"""Kinetics by its CSV lists or by class folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cmac_core.data.layouts.trees import ANNOTATIONS, copied, counted, edited, listed, touch
from tests.cmac_core.data.made_media import needs_shared


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(ANNOTATIONS / "kinetics", tmp_path / "annotations")
    return tmp_path


@needs_shared
def test_the_validation_list_has_19906_videos_of_400_classes(root: Path) -> None:
    touch(root, "val/abseiling/0wR5jVB-WPk_000417_000427.mp4", "flat/3caPS4FHFF8_000036_000046.mkv", "R6llTwEh07w.mp4")
    items = listed(root, "kinetics400")
    assert (len(items), len(counted(items, "class")), counted(items, "split")) == (19_906, 400, {"val": 19_906})
    there = {item.source: item.labels["class"] for item in items if item.path}
    assert there == {
        "val/abseiling/0wR5jVB-WPk_000417_000427.mp4": "abseiling",
        "flat/3caPS4FHFF8_000036_000046.mkv": "abseiling",
        "R6llTwEh07w.mp4": "using segway",
    }
    (item,) = [item for item in items if item.source.startswith("val/abseiling/0wR5jVB-WPk")]
    assert item.id == "val/abseiling/0wR5jVB-WPk_000417_000427"
    assert (item.labels["youtube_id"], item.labels["time_start"], item.labels["time_end"]) == (
        "0wR5jVB-WPk", "417", "427",
    )  # fmt: skip


@needs_shared
def test_another_sets_list_of_the_same_name_is_passed_over_or_recognized(root: Path) -> None:
    touch(root, "val/abseiling/0wR5jVB-WPk_000417_000427.mp4")
    copied(ANNOTATIONS / "vggsound", root / "vggsound")
    assert len(listed(root, "kinetics400")) == 19_906
    with pytest.raises(ValueError, match=r"test\.csv is a list of VGGSound, not of Kinetics"):
        listed(root, "kinetics400", annotations="vggsound")


CHANGES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text.replace("abseiling,0wR5jVB-WPk,417,427,val,0\n", ""), "val videos: found 19905, expected 19906"),
    (lambda text: text.replace("abseiling,0wR", "absailing,0wR"),
     r"kinetics-400_val\.csv, line 2: 'absailing' is not in the 400 classes .*; did you mean abseiling"),
    (lambda text: text.replace("WPk,417", "WPk,7 min"), "line 2: time_start and time_end must be whole seconds"),
    (lambda text: text.replace("427,val", "427,validation2"), "line 2: split is 'validation2', expected train, val or"),
    (lambda text: text.replace("427,val,0", "427,val"), "line 2: 5 cells, the heading has 6"),
    (lambda text: text.replace("time_start", "begin", 1), "it has no column time_start; its first line is"),
]  # fmt: skip


@needs_shared
@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_list_that_was_changed_says_where(change: Callable[[str], str], words: str, root: Path) -> None:
    edited(root / "annotations" / "kinetics-400_val.csv", change)
    with pytest.raises(ValueError, match=words):
        listed(root, "kinetics400")


def test_class_folders_do_without_lists(tmp_path: Path) -> None:
    touch(tmp_path, "train/playing harp/aaaaaaaaaaa_000001_000011.mp4", "validate/zumba/-bbbbbbbbb__000020_000030.mp4")
    touch(tmp_path, "zumba/ccccccccccc_000000_000010.mp4", "zumba/trailer.mp4")
    times = {"youtube_id": "aaaaaaaaaaa", "time_start": "1", "time_end": "11"}
    items = {item.source: item.labels for item in listed(tmp_path, "kinetics400")}
    assert items["train/playing harp/aaaaaaaaaaa_000001_000011.mp4"] == {
        "class": "playing harp", "split": "train", **times,
    }  # fmt: skip
    assert items["validate/zumba/-bbbbbbbbb__000020_000030.mp4"]["split"] == "val"
    assert "split" not in items["zumba/ccccccccccc_000000_000010.mp4"]
    assert len(items) == 3


def test_neither_lists_nor_names_of_kinetics_is_explained(tmp_path: Path) -> None:
    touch(tmp_path, "zumba/dance.mp4")
    with pytest.raises(
        ValueError, match=r"looked for a list .* or class folders .* there is: zumba/ \(1 media files\)"
    ):
        listed(tmp_path, "kinetics400")


def test_more_than_400_class_folders_are_another_edition(tmp_path: Path) -> None:
    touch(tmp_path, *(f"class {i}/{i:011}_000000_000010.mp4" for i in range(401)))
    with pytest.raises(ValueError, match="found 401 class folders, expected 400 or fewer; is it Kinetics-600"):
        listed(tmp_path, "kinetics400")
