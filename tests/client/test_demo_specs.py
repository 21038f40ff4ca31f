"""What the demonstration asks for is what the service accepts."""

import pytest

from client.demo import label_column, pack_generated, training_specs
from client.errors import BadInput
from client.specfiles import in_order, references, resolved
from cmac_core.specs import JOB_SPEC

JOB = "0b0e0000-0000-4000-8000-000000000000"


def test_every_spec_validates_and_evaluations_wait_for_the_training() -> None:
    specs = training_specs("demo@1", {"clips": 500, "labels": {"class": 8, "split": 2}}, "class")
    assert in_order(specs) == specs
    assert [references(spec) for spec in specs] == [[], *[["cmac"]] * 4]
    kinds = [JOB_SPEC.validate_python(resolved(spec, {"cmac": JOB})).kind for spec in specs]
    assert kinds == ["pretrain", "retrieval", "probe", "probe", "attention"]
    assert JOB_SPEC.validate_python(pack_generated(500)).kind == "pack"


def test_the_training_sees_about_as_many_clips_whatever_the_corpus() -> None:
    seen = []
    for clips in (300, 500, 803, 2000):
        train = JOB_SPEC.validate_python(training_specs("d", {"clips": clips}, "class")[0])
        assert train.kind == "pretrain"
        seen.append(train.optim.epochs * clips)
    assert max(seen) < 1.4 * min(seen)


def test_without_a_split_column_a_seeded_split_is_taken() -> None:
    splits = [spec["split"] for spec in training_specs("d", {"clips": 100, "labels": {"class": 3}}, "class")[1:4]]
    assert splits == [{"seeded": 0.8}] * 3


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        ({"class": 10, "split": 2}, "class"),
        ({"command": 4, "letter": 25, "digit": 10}, "command"),
        ({"split": 2, "video": 803, "digit": 10, "word": 51}, "digit"),
    ],
)
def test_the_label_column_is_one_that_can_be_learned(labels: dict[str, int], column: str) -> None:
    assert label_column(labels) == column


def test_a_dataset_without_labels_is_refused_with_its_columns() -> None:
    with pytest.raises(BadInput, match=r"there are: split \(2 values\)"):
        label_column({"split": 2})
