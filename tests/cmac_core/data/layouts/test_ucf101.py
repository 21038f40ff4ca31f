"""UCF101 is read from its genuine lists, and everything that is not right about them is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cmac_core.data.layouts.trees import HMDB51, UCF101, copied, counted, edited, listed, touch
from tests.cmac_core.data.made_media import needs_shared

pytestmark = needs_shared
VIDEO = "SoccerJuggling/v_SoccerJuggling_g23_c01"
COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(UCF101, tmp_path / "ucfTrainTestlist")
    return touch(tmp_path, f"UCF-101/{VIDEO}.avi")


def test_the_official_splits_have_their_sizes_and_labels(root: Path) -> None:
    items = listed(root, "ucf101")
    assert len(items) == 13_320
    for split, (train, test) in COUNTS.items():
        assert counted(items, f"split{split}") == {"train": train, "test": test}
    assert len(counted(items, "class")) == 101
    assert all(item.labels["class"] == item.id.split("/")[0] for item in items)
    (there,) = [item for item in items if item.path is not None]
    assert (there.id, there.source) == (VIDEO, f"UCF-101/{VIDEO}.avi")
    marks = {"split1": "train", "split2": "train", "split3": "train"}
    assert there.labels == {"class": "SoccerJuggling", "group": "SoccerJuggling_g23", **marks}


def test_lists_end_in_cr_lf_and_no_label_keeps_it(root: Path) -> None:
    assert (root / "ucfTrainTestlist" / "classInd.txt").read_bytes().count(b"\r\n") == 101
    assert not any("\r" in value for item in listed(root, "ucf101") for value in item.labels.values())


def test_a_video_lies_anywhere_and_in_any_container(tmp_path: Path) -> None:
    copied(UCF101, tmp_path / "lists" / "ucf")
    touch(tmp_path, "flat/v_SoccerJuggling_g23_c01.mp4", "flat/v_SoccerJuggling_g23_c01.wav")
    (there,) = [item for item in listed(tmp_path, "ucf101", annotations="lists/ucf") if item.path]
    assert (there.id, there.source) == (VIDEO, "flat/v_SoccerJuggling_g23_c01.mp4")


def test_missing_videos_are_counted_and_named(root: Path) -> None:
    words = r"13319 of the 13320 listed files are not below .*: ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01\.avi, .*"
    with pytest.raises(ValueError, match=words + r"and 13313 more; add them, or set allow_missing"):
        listed(root, "ucf101", allow_missing=False)


def test_a_root_without_lists_says_what_is_there_and_what_to_give(tmp_path: Path) -> None:
    touch(tmp_path, f"{VIDEO}.avi", "notes.txt")
    words = (
        r"looked for ucfTrainTestlist/.* anywhere below .* found none; there is: SoccerJuggling/ \(1 media files\), "
        r"notes\.txt; give the folder that holds both UCF-101/ and ucfTrainTestlist/"
    )
    with pytest.raises(ValueError, match=words):
        listed(tmp_path, "ucf101")


def test_a_root_without_videos_is_an_error_even_when_missing_is_allowed(tmp_path: Path) -> None:
    copied(UCF101, tmp_path / "ucfTrainTestlist")
    with pytest.raises(ValueError, match=r"none of the 13320 .* looked for v_\{Class\}.*; give the folder that holds"):
        listed(tmp_path, "ucf101")


def test_the_lists_of_another_set_are_recognized(tmp_path: Path) -> None:
    copied(HMDB51, tmp_path / "testTrainMulti_7030_splits")
    with pytest.raises(ValueError, match=r"_test_split1\.txt is a list of HMDB51, not of UCF101"):
        listed(tmp_path, "ucf101")


def test_a_list_of_another_set_under_our_name_is_recognized(root: Path) -> None:
    (root / "ucfTrainTestlist" / "trainlist02.txt").write_bytes((HMDB51 / "wave_test_split2.txt").read_bytes())
    with pytest.raises(ValueError, match=r"trainlist02\.txt is a list of HMDB51, not of UCF101"):
        listed(root, "ucf101")


FIRST = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n"
CHANGES: list[tuple[str, Callable[[str], str], str]] = [
    ("trainlist01.txt", lambda text: text.replace(FIRST, ""), r"trainlist01\.txt: found 9536, expected 9537"),
    ("testlist03.txt", lambda text: text + text[:45], r"testlist03\.txt: found 3697, expected 3696"),
    ("trainlist01.txt", lambda text: text.replace("ApplyEyeMakeup/v", "ApplyEyMakeup/v", 1),
     r"trainlist01\.txt, line 1: 'ApplyEyMakeup' is not in classInd\.txt \(101 classes\); did you mean ApplyEyeMakeup"),
    ("trainlist01.txt", lambda text: text.replace(FIRST, FIRST.replace(" 1", " 0")),
     r"line 1: ApplyEyeMakeup is 0 here and 1 in classInd"),
    ("trainlist01.txt", lambda text: text.replace(FIRST, "eyes.avi one\r\n"),
     r"trainlist01\.txt, line 1: expected 'Class/v_Class_g01_c01\.avi 1', found 'eyes\.avi one'"),
    ("trainlist01.txt", lambda text: text.replace("g08_c02", "g08_c01", 1), "stands twice in split 1"),
    ("classInd.txt", lambda text: text.replace("101 YoYo\r\n", ""), r"classes in classInd\.txt: found 100, expected 1"),
    ("classInd.txt", lambda text: text.replace("101 YoYo", "0 YoYo"), r"classInd\.txt counts 0 to 100; the official"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), CHANGES)
def test_a_list_that_was_changed_says_where(name: str, change: Callable[[str], str], words: str, root: Path) -> None:
    edited(root / "ucfTrainTestlist" / name, change)
    with pytest.raises(ValueError, match=words):
        listed(root, "ucf101")


def test_a_list_that_is_not_there_is_named(root: Path) -> None:
    (root / "ucfTrainTestlist" / "testlist02.txt").unlink()
    with pytest.raises(ValueError, match=r"the lists lack testlist02\.txt"):
        listed(root, "ucf101")


def test_two_copies_of_the_lists_or_of_a_video_are_not_guessed_between(root: Path) -> None:
    touch(root, "copy/v_SoccerJuggling_g23_c01.avi")
    assert [item.source for item in listed(root, "ucf101") if item.path] == [f"UCF-101/{VIDEO}.avi"]
    touch(root, "more/SoccerJuggling/v_SoccerJuggling_g23_c01.avi")
    with pytest.raises(ValueError, match="have the same name; keep one"):
        listed(root, "ucf101")
    copied(UCF101, root / "old" / "ucfTrainTestlist")
    with pytest.raises(ValueError, match=r"in several folders of .*: old/ucfTrainTestlist, ucfTrainTestlist; name one"):
        listed(root, "ucf101")


@pytest.mark.parametrize("place", ["nowhere", "../elsewhere", "/etc"])
def test_annotations_that_are_nowhere_below_the_source_are_refused(place: str, root: Path) -> None:
    with pytest.raises(ValueError, match=r"annotations: (there is no nowhere|.* leads out of the source)"):
        listed(root, "ucf101", annotations=place)
