"""AudioSet by lists of files or of segments; a clip has several labels."""

from pathlib import Path

import pytest

from tests.cmac_core.data.layouts.trees import ANNOTATIONS, copied, counted, edited, listed, touch
from tests.cmac_core.data.made_media import needs_shared

pytestmark = needs_shared
SEGMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3
# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copied(ANNOTATIONS / "audioset", tmp_path / "lists")
    return tmp_path


def test_the_list_of_evaluation_files_has_19040(root: Path) -> None:
    touch(root, "eval/--4gqARaEJE_0_10000.mp4")
    items = listed(root, "audioset")
    assert (len(items), counted(items, "split")) == (19_040, {"test": 19_040})
    (there,) = [item for item in items if item.path]
    assert there.labels == {
        "split": "test", "youtube_id": "--4gqARaEJE", "time_start_ms": "0", "time_end_ms": "10000",
    }  # fmt: skip
    edited(root / "lists" / "eval.txt", lambda text: text.replace("--4gqARaEJE_0_10000.mp4\n", ""))
    with pytest.raises(ValueError, match=r"files in eval\.txt: found 19039, expected 19040"):
        listed(root, "audioset")


def test_segments_carry_all_their_labels_by_name(root: Path) -> None:
    touch(root, "clips/--PJHxphWEs_30000_40000.mp4", "clips/Y-0RWZT-miFs.webm")
    (root / "lists" / "balanced_train_segments.csv").write_text(SEGMENTS)
    first, second = listed(root, "audioset", allow_missing=False)
    assert first.labels["labels"] == "Speech;Gush"
    assert first.labels["mids"] == "/m/09x0r;/t/dd00088"
    assert (second.source, second.labels["split"], second.labels["time_start_ms"]) == (
        "clips/Y-0RWZT-miFs.webm", "train", "420000",
    )  # fmt: skip
    assert "class" not in first.labels


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("/m/03v3yw", "/m/unknown", r"line 5: '/m/unknown' is not in class_labels_indices\.csv \(527 classes\)"),
        ("num_segs=2", "num_segs=3", "whose heading counts them: found 2, expected 3"),
        ("30.000", "soon", "line 4: expected 'id, start, end"),
    ],
)
def test_segments_that_do_not_fit_say_where(old: str, new: str, words: str, root: Path) -> None:
    (root / "lists" / "eval_segments.csv").write_text(SEGMENTS.replace(old, new))
    with pytest.raises(ValueError, match=words):
        listed(root, "audioset")


def test_class_names_are_needed_for_segments_and_a_list_for_files(root: Path) -> None:
    (root / "lists" / "eval.txt").unlink()
    with pytest.raises(ValueError, match=r"class_labels_indices\.csv is there, and no list of clips"):
        listed(root, "audioset")
    (root / "lists" / "class_labels_indices.csv").unlink()
    (root / "lists" / "eval_segments.csv").write_text(SEGMENTS)
    with pytest.raises(ValueError, match=r"eval_segments\.csv needs class_labels_indices\.csv beside it"):
        listed(root, "audioset")
