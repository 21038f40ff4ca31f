"""Layouts without lists of their own, and specs that do not go with a layout."""

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from cmac_core.data.layouts.listing import SETS
from cmac_core.specs import JOB_SPEC, Layout
from tests.cmac_core.data.layouts.trees import listed, touch


def test_class_folders_may_lie_in_folders_of_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/dog/a.mp4", "test/dog/a.mp4", "validation/cat/b.mp4")
    (tmp_path / "labels.csv").write_text("video,class\ntrain/dog/a.mp4,horse\n")
    assert [(item.id, item.labels) for item in listed(tmp_path, "folder")] == [
        ("test/dog/a", {"class": "dog", "split": "test"}),
        ("train/dog/a", {"class": "dog", "split": "train"}),
        ("validation/cat/b", {"class": "cat", "split": "val"}),
    ]


def test_a_folder_that_is_no_split_makes_all_of_them_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/dog/a.mp4", "bicycle/a.mp4")
    assert [item.labels for item in listed(tmp_path, "folder")] == [{"class": "bicycle"}, {"class": "train/dog"}]


def test_media_in_no_folder_have_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.mp4", "b.mp4")
    with pytest.raises(ValueError, match=r"1 of 2 media files lie in .* itself, b\.mp4 for one; give a folder"):
        listed(tmp_path, "folder")


def test_a_table_is_asked_for_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(ValueError, match=r"layout table: there is no labels\.csv in .*; name the CSV with table\.path"):
        listed(tmp_path, "table")
    (tmp_path / "rows.csv").write_text("filename,label,fold\na.mp4,dog,3\n")
    (item,) = listed(tmp_path, "table", table={"path": "rows.csv", "file": "filename"})
    assert item.labels == {"label": "dog", "fold": "3"}


def test_every_layout_can_be_read() -> None:
    assert set(get_args(Layout)) == {*SETS, "folder", "table"}


def pack(**fields: Any) -> Any:
    return JOB_SPEC.validate_python({"kind": "pack", "dataset": "d", "source": {"path": "."}, **fields})


def test_sets_that_are_sound_alone_are_packed_as_sound() -> None:
    assert pack(layout="esc50").media == "audio"
    assert pack(layout="ucf101").media == "video"
    assert pack(layout="vggsound", media="audio").media == "audio"


CORPUS = {"generate": "sounding-objects", "clips": 8}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layout": "esc50", "media": "video"}, "media: esc50 is sound alone"),
        ({"layout": "ucf101", "table": {"path": "x.csv"}}, "table: layout ucf101 knows its labels"),
        ({"layout": "ucf101", "source": CORPUS}, "layout: a generated corpus has its own"),
        ({"annotations": "lists"}, "annotations: goes with a layout that has lists"),
        ({"layout": "ucf102"}, "'ucf101', 'hmdb51'"),
        ({"shard": {"index": 2, "of": 2}}, "index: counts from 0 to 1, so 2 is no shard of 2"),
        ({"shard": {"index": 0, "of": 2}, "source": CORPUS}, "a generated corpus is packed by one job"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        pack(**fields)
