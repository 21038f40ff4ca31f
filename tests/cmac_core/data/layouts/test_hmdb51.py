"""HMDB51's labels come from the names of its lists; flags, classes and counts are checked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cmac_core.data.layouts.hmdb51 import CLASSES
from tests.cmac_core.data.layouts.trees import HMDB51, UCF101, copied, counted, edited, listed, touch
from tests.cmac_core.data.made_media import SHARED, needs_shared

pytestmark = needs_shared
VIDEO = "wave/TrumanShow_wave_f_nm_np1_fr_med_26"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(HMDB51, tmp_path / "testTrainMulti_7030_splits")
    return touch(tmp_path, f"{VIDEO}.avi")


def test_each_split_has_3570_training_and_1530_test_videos(root: Path) -> None:
    items = listed(root, "hmdb51")
    assert len(items) == 6_766
    for split in (1, 2, 3):
        assert counted(items, f"split{split}") == {"train": 3570, "test": 1530, "unused": 1666}
    for name, count in counted(items, "class").items():
        assert name in CLASSES
        assert count >= 101, name


def test_the_class_is_the_lists_name_and_never_a_prefix_of_it(root: Path) -> None:
    labels = {item.id: item.labels["class"] for item in listed(root, "hmdb51")}
    for name in ("climb", "climb_stairs", "kick", "kick_ball", "sword", "sword_exercise", "ride_bike"):
        lines = (HMDB51 / f"{name}_test_split1.txt").read_text().splitlines()
        videos = [line.split()[0].removesuffix(".avi") for line in lines]
        assert {labels[f"{name}/{video}"] for video in videos} == {name}
        assert all(f"_{name}_" in video for video in videos)


def test_the_class_list_here_is_that_of_the_code() -> None:
    assert sorted(line.strip() for line in (HMDB51 / "class_list.txt").read_text().splitlines()) == list(CLASSES)


def test_genuine_files_are_found_beside_their_lists(tmp_path: Path) -> None:
    copied(HMDB51, tmp_path / "lists")
    for file in sorted((SHARED / "files" / "hmdb51").iterdir()):
        (tmp_path / file.name).symlink_to(file)
    there = [item for item in listed(tmp_path, "hmdb51") if item.path]
    assert [(item.id, item.labels["class"]) for item in there] == [
        ("wave/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0", "wave"),
        (VIDEO, "wave"),
    ]


def test_lists_without_the_class_list_are_enough(root: Path) -> None:
    (root / "testTrainMulti_7030_splits" / "class_list.txt").unlink()
    assert len(listed(root, "hmdb51")) == 6_766


def test_ucf101s_lists_are_not_hmdb51s(tmp_path: Path) -> None:
    copied(UCF101, tmp_path / "ucfTrainTestlist")
    with pytest.raises(ValueError, match=r"is a list of UCF101, not of HMDB51; give the folder that holds both"):
        listed(tmp_path, "hmdb51")


CHANGES: list[tuple[str, Callable[[str], str], str]] = [
    ("wave_test_split1.txt", lambda text: text.replace(" 1 ", " 2 ", 1), "train videos of split 1: found 3569, expect"),
    ("wave_test_split2.txt", lambda text: text.replace(" 1 ", " 3 ", 1), r"split2\.txt, line \d+: expected 'file\.avi"),
    ("wave_test_split1.txt", lambda text: text.replace("_wave_", "_walk_", 1), "is not a video of wave by its own"),
    ("class_list.txt", lambda text: text.replace("wave", "weave"),
     r"class_list\.txt, line 51: 'weave' is not in HMDB51's class list \(51 classes\); did you mean wave"),
    ("class_list.txt", lambda text: text.replace("walk\n", ""), r"classes in class_list\.txt: found 50, expected 51"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), CHANGES)
def test_a_list_that_was_changed_says_where(name: str, change: Callable[[str], str], words: str, root: Path) -> None:
    edited(root / "testTrainMulti_7030_splits" / name, change)
    with pytest.raises(ValueError, match=words):
        listed(root, "hmdb51")


def test_lists_of_swapped_classes_are_noticed(root: Path) -> None:
    lists = root / "testTrainMulti_7030_splits"
    (lists / "walk_test_split1.txt").write_bytes((HMDB51 / "run_test_split1.txt").read_bytes())
    with pytest.raises(ValueError, match=r"walk_test_split1\.txt, line 1: .* is not a video of walk"):
        listed(root, "hmdb51")


def test_a_list_that_is_not_there_is_named(root: Path) -> None:
    (root / "testTrainMulti_7030_splits" / "wave_test_split3.txt").unlink()
    with pytest.raises(ValueError, match=r"1 of 153 lists are not there: wave_test_split3\.txt"):
        listed(root, "hmdb51")
