"""What readers are given of a packed dataset: clips, bounds, folds; and words when it does not fit."""

from pathlib import Path

import pytest

from cmac_core.data.dataset import divide, open_dataset, uniform_starts, window_bounds
from cmac_core.data.dataset_writer import summarize, write_dataset
from cmac_core.data.manifest import Clip
from cmac_core.specs import Split


def clip(name: str, **values: object) -> Clip:
    fields = {"path": f"clips/{name}.mkv", "sha256": "", "bytes": 1, "source": name, "duration_s": 4.0}
    fields |= {"frames": 100, "fps": 25.0, "samples": 72_000, "sample_rate": 24_000, "has_audio": True}
    return Clip.model_validate({"id": name, **fields, **values})


def labelled(*labels: dict[str, str]) -> list[Clip]:
    return [clip(f"c{i:02}", labels=row) for i, row in enumerate(labels)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clips = labelled({"class": "a", "split": "train"}, {"class": "b", "split": "test"}, {"class": "a", "split": "test"})
    write_dataset(tmp_path, clips, [], [], summarize("video", clips, []))
    return tmp_path


def test_where_keeps_the_clips_of_these_values(folder: Path) -> None:
    assert [one.id for one in open_dataset(folder).clips] == ["c00", "c01", "c02"]
    kept = open_dataset(folder, {"class": "a", "split": "test"})
    assert [one.id for one in kept.clips] == ["c02"]
    assert kept.path(kept.clips[0]) == folder / "clips/c02.mkv"
    assert kept.truth == {}


def test_a_filter_that_fits_nothing_says_what_there_is(folder: Path) -> None:
    with pytest.raises(ValueError, match="no column 'klass'; it has class, split"):
        open_dataset(folder, {"klass": "a"})
    with pytest.raises(ValueError, match="no clip has class = 'z'; the column has 'a', 'b'"):
        open_dataset(folder, {"class": "z"})


def test_a_folder_that_is_no_dataset_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a packed dataset: manifest\.jsonl is missing"):
        open_dataset(tmp_path)


def test_bounds_are_where_both_streams_are() -> None:
    one = clip("c", video_start_s=0.5, audio_start_s=0.2)  # video 0.5 to 4.5, sound 0.2 to 3.2
    assert window_bounds(one, 1.0, video=True, audio=True) == pytest.approx((0.5, 2.2))
    assert window_bounds(one, 1.0, video=True, audio=False) == pytest.approx((0.5, 3.5))
    assert window_bounds(one, 1.0, video=False, audio=True) == pytest.approx((0.2, 2.2))
    assert window_bounds(one, 9.0, video=True, audio=True) == pytest.approx((0.5, 0.5))


def test_uniform_starts_include_the_first_and_the_last() -> None:
    one = clip("c")
    assert uniform_starts(one, 3, 1.0, video=True, audio=True) == pytest.approx([0.0, 1.0, 2.0])
    assert uniform_starts(one, 1, 1.0, video=True, audio=True) == [0.0]


def test_a_column_divides_and_other_marks_are_left_out() -> None:
    clips = labelled({"split": "train"}, {"split": "test"}, {"split": "unused"}, {"split": "train"})
    assert divide(clips, Split(), 0) == [(None, [0, 3], [1])]


def test_folds_are_each_the_test_set_once_in_order_of_number() -> None:
    clips = labelled(*({"fold": str(number)} for number in (10, 2, 1, 2)))
    folds = divide(clips, Split(folds="fold"), 0)
    assert [fold.name for fold in folds] == ["1", "2", "10"]
    assert folds[1] == ("2", [0, 2], [1, 3])


def test_a_seeded_split_keeps_groups_together_and_repeats() -> None:
    clips = labelled(*({"source": f"s{i // 3}"} for i in range(30)))
    (fold,) = divide(clips, Split(seeded=0.8, group="source"), 5)
    assert [fold] == divide(clips, Split(seeded=0.8, group="source"), 5)
    assert fold != divide(clips, Split(seeded=0.8, group="source"), 6)[0]
    assert len(fold.train) == 24
    assert sorted(fold.train + fold.test) == list(range(30))
    assert not {i // 3 for i in fold.train} & {i // 3 for i in fold.test}


def test_neither_side_of_a_seeded_split_is_empty() -> None:
    for share in (0.01, 0.99):
        (fold,) = divide(labelled({}, {}), Split(seeded=share), 0)
        assert len(fold.train) == len(fold.test) == 1


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (Split(), "no column split, and none is named; it has class, fold"),
        (Split(column="part"), "no column 'part'; it has class, fold"),
        (Split(column="class", train="a", test="z"), "split.test: no clip has class = 'z'; the column has 'a', 'b'"),
        (Split(folds="fold"), "fold has one value only"),
        (Split(seeded=0.5, group="fold"), "only one value of fold"),
        (Split(seeded=0.5, group="speaker"), "no column 'speaker'"),
    ],
)
def test_a_split_that_does_not_fit_names_columns_and_values(split: Split, words: str) -> None:
    clips = labelled({"class": "a", "fold": "1"}, {"class": "b", "fold": "1"})
    with pytest.raises(ValueError, match=words):
        divide(clips, split, 0)
