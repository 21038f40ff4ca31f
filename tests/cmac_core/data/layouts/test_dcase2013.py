"""The scenes of DCASE 2013: public for training, private for test, folds inside of each."""

from collections import Counter
from pathlib import Path

import pytest

from cmac_core.data.layouts.dcase2013 import CLASSES
from tests.cmac_core.data.layouts.trees import counted, listed, touch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # The public set's numbers are not consecutive.
    touch(tmp_path, *(f"scenes_stereo/{name}{3 * i + 1:02}.wav" for name in CLASSES for i in range(10)))
    return touch(tmp_path, *(f"private/scenes_stereo_testset/{name}{i:02}.wav" for name in CLASSES for i in range(10)))


@pytest.mark.parametrize("layout", ["dcase2013", "dcase2014"])
def test_public_is_for_training_and_private_for_test(layout: str, root: Path) -> None:
    items = listed(root, layout, allow_missing=False)
    assert counted(items, "split") == {"train": 100, "test": 100}
    assert counted(items, "class") == dict.fromkeys(CLASSES, 20)
    sets = {(item.labels["split"], item.labels["set"], item.id.split("/")[0]) for item in items}
    assert sets == {("train", "public", "scenes_stereo"), ("test", "private", "scenes_stereo_testset")}
    (tube,) = [item for item in items if item.source == "scenes_stereo/tubestation28.wav"]
    assert tube.labels["class"] == "tubestation"


def test_each_fold_has_two_of_each_class_of_each_set(root: Path) -> None:
    items = listed(root, "dcase2013")
    found = Counter((item.labels["set"], item.labels["class"], item.labels["fold"]) for item in items)
    assert found == {(kind, name, str(fold)): 2 for kind in ("public", "private") for name in CLASSES
                     for fold in range(1, 6)}  # fmt: skip


def test_an_incomplete_set_is_told_and_may_be_allowed(root: Path) -> None:
    (root / "scenes_stereo" / "bus01.wav").unlink()
    words = r"found 99 public and 100 private files, expected 100 and 100, .* not so: scenes_stereo/bus 9; add them"
    with pytest.raises(ValueError, match=words):
        listed(root, "dcase2013", allow_missing=False)
    assert len(listed(root, "dcase2013")) == 199
    touch(root, "scenes_stereo/bus01.wav", "scenes_stereo/bus02.wav")
    with pytest.raises(ValueError, match=r"not so: scenes_stereo/bus 11$"):
        listed(root, "dcase2013")


def test_a_scene_that_is_none_is_named(root: Path) -> None:
    touch(root, "scenes_stereo/bustreet01.wav")
    with pytest.raises(
        ValueError, match=r"bustreet01\.wav: 'bustreet' is not in the scenes .* did you mean busystreet"
    ):
        listed(root, "dcase2013")


def test_a_root_without_both_folders_is_explained(tmp_path: Path) -> None:
    touch(tmp_path, "bus01.wav")
    with pytest.raises(
        ValueError, match=r"looked for .* in scenes_stereo/ and scenes_stereo_testset/ .*bus01\.wav; give"
    ):
        listed(tmp_path, "dcase2013")
