"""What is packed: files of a folder, or those of a table; and words for a table that does not fit."""

import os
from pathlib import Path

import pytest

from cmac_core.data.sources import Item, list_items
from cmac_core.specs import LabelTable


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def table(root: Path, text: str, name: str = "labels.csv") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())


def listed(root: Path, spec: LabelTable | None = None, allow_missing: bool = False) -> list[Item]:
    return list_items(root, spec, allow_missing)


def test_folders_are_classes_and_only_media_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.MP4", "dog/a.avi", "cat/deep/c.wav", "dog/notes.txt", "dog/._a.avi", ".trash/d.mp4")
    assert [(item.id, item.source, item.labels) for item in listed(tmp_path)] == [
        ("cat/deep/c", "cat/deep/c.wav", {"class": "cat/deep"}),
        ("dog/a", "dog/a.avi", {"class": "dog"}),
        ("dog/b", "dog/b.MP4", {"class": "dog"}),
    ]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    assert [item.labels for item in listed(tmp_path)] == [{}, {}]


def test_files_that_differ_by_extension_alone_keep_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.wav", "a.mp4.avi", "b.mp4")
    assert [item.id for item in listed(tmp_path)] == ["a.mp4", "a.mp4.avi", "a.wav", "b"]


def test_a_name_that_is_not_utf_8_is_spelled_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()
    (item,) = listed(tmp_path)
    assert item.source == "caf\\xe9.mp4"
    assert item.path is not None
    assert item.path.exists()


def test_what_is_no_file_is_listed_as_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert [(item.id, item.path is None) for item in listed(tmp_path)] == [("a", False), ("link", True), ("pipe", True)]


def test_labels_csv_is_found_and_its_columns_become_labels(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "v/unlisted.mp4")
    table(tmp_path, "\ufeffvideo,class,split\r\nv/b.mp4, dog ,test\r\nv/a.mp4,cat,train\r\n\r\n")
    assert [(item.id, item.labels) for item in listed(tmp_path)] == [
        ("v/a", {"class": "cat", "split": "train"}),
        ("v/b", {"class": "dog", "split": "test"}),
    ]


def test_a_table_can_name_files_of_a_folder_by_their_stems(tmp_path: Path) -> None:
    touch(tmp_path, "audio/1-a.ogg", "audio/2-b.ogg")
    table(tmp_path, "filename,fold\n1-a.wav,1\n2-b.wav,2\n", "meta/esc.csv")
    spec = LabelTable(path="meta/esc.csv", file="filename", folder="audio", by_stem=True)
    assert [(item.id, item.source, item.labels) for item in listed(tmp_path, spec)] == [
        ("audio/1-a", "audio/1-a.ogg", {"fold": "1"}),
        ("audio/2-b", "audio/2-b.ogg", {"fold": "2"}),
    ]


def test_missing_files_are_an_error_unless_allowed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    table(tmp_path, "video\na.mp4\nb.mp4\nc.mp4\n")
    with pytest.raises(ValueError, match=r"2 of 3 files are not there: b\.mp4, c\.mp4; .*allow_missing"):
        listed(tmp_path)
    assert [item.path is None for item in listed(tmp_path, allow_missing=True)] == [False, True, True]


def test_a_table_of_which_nothing_is_there_is_an_error_even_when_allowed(tmp_path: Path) -> None:
    table(tmp_path, "video\nb.mp4\n")
    with pytest.raises(ValueError, match=r"1 of 1 files are not there: b\.mp4; check table\.folder"):
        listed(tmp_path, allow_missing=True)


def test_a_folder_without_media_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match=rf"no media files in {tmp_path}; looked for .*\.mp4.*\.wav"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        ("video\na.mp4\n", LabelTable(path="lables.csv"), r"no file lables\.csv in .*; CSV files there: labels\.csv"),
        ("video,class\na.mp4,x\n", LabelTable(file="clip"), "no column 'clip'; it has video, class"),
        ("video,class\na.mp4\n", LabelTable(), "line 2 has 1 cells, the heading 2"),
        ("video,video\na.mp4,x\n", LabelTable(), "needs a heading of different names"),
        ("video\n", LabelTable(), "a heading and no rows"),
        ("", LabelTable(), "needs a heading of different names, not none"),
        ("video\n../secret.mp4\n", LabelTable(), r"line 2 names \.\./secret\.mp4, which leads out of the source"),
        ("video\n/etc/a.mp4\n", LabelTable(), "which leads out of the source"),
        ("video,class\na.mp4,x\na.mp4,y\n", LabelTable(), r"line 3 names a\.mp4 again, with other labels"),
    ],
)
def test_a_table_that_does_not_fit_says_where(text: str, spec: LabelTable, words: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    table(tmp_path, text)
    with pytest.raises(ValueError, match=words):
        listed(tmp_path, spec)


def test_two_files_of_one_stem_are_not_guessed_between(tmp_path: Path) -> None:
    touch(tmp_path, "a.ogg", "a.flac")
    table(tmp_path, "video\na.wav\n")
    with pytest.raises(ValueError, match="the same name but for the extension"):
        listed(tmp_path, LabelTable(by_stem=True))
