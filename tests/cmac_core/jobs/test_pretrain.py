"""What a user can get wrong about a pretraining, each told before any step."""

from pathlib import Path
from typing import Any

import pytest

from cmac_core.data.dataset_writer import summarize, write_dataset
from cmac_core.data.manifest import read_clips
from cmac_core.events import Ended, Warned, read
from cmac_core.jobs import pretrain
from cmac_core.specs import JOB_SPEC, Pretrain
from cmac_core.specs.presets import merged
from cmac_core.training.errors import UserError
from cmac_core.training.inputs import Input
from cmac_core.training.ranks import Place, Ranks
from cmac_core.training.run import Run
from tests.cmac_core.training.tiny import SPEC, write_clips


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("pretrain") / "set", clips=9)


def refused(tmp_path: Path, dataset: Path, ranks: int = 1, **changes: Any) -> UserError:
    spec = JOB_SPEC.validate_python(merged(SPEC, changes))
    assert isinstance(spec, Pretrain)
    ended: list[Ended] = []
    with (
        Run(tmp_path, {"dataset": Input(path=dataset)}, world_size=ranks) as run,
        pytest.raises(UserError) as error,
    ):
        pretrain.run(spec, run, Ranks(Place(), ended.append))
    return error.value


def changed(dataset: Path, target: Path, mel: tuple[float, float] | None = (-8.0, 4.0), **changes: Any) -> Path:
    """A dataset whose manifest says something else of every clip."""
    target.mkdir()
    rows = [clip.model_copy(update=changes) for clip in read_clips(dataset)]
    write_dataset(target, rows, [], [], summarize("video", rows, [], mel=mel))
    return target


def test_a_dataset_without_sound_is_refused_for_what_listens(tmp_path: Path, dataset: Path) -> None:
    mute = changed(dataset, tmp_path / "mute", has_audio=False, samples=0)
    error = refused(tmp_path, mute)
    assert str(error) == "dataset: none of its 9 clips has sound, which objective cmac listens to"
    assert "single_v" in error.hint


def test_a_dataset_of_sound_alone_is_refused_for_what_looks(tmp_path: Path, dataset: Path) -> None:
    blind = changed(dataset, tmp_path / "blind", frames=0)
    assert "single_a" in refused(tmp_path, blind).hint


def test_too_few_clips_for_a_step_are_refused_with_the_largest_batch(tmp_path: Path, dataset: Path) -> None:
    error = refused(tmp_path, dataset, optim={"batch": 16})
    assert "a step takes 16 videos, and only 9 may be shown" in str(error)
    assert "Set optim.batch to 8 or less" in error.hint


@pytest.mark.parametrize(("ranks", "batch", "legal"), [(1, 7, "6 or 8"), (2, 6, "4 or 8")])
def test_a_batch_that_does_not_fill_its_groups_is_refused_with_the_nearest(
    tmp_path: Path, dataset: Path, ranks: int, batch: int, legal: str
) -> None:
    error = refused(tmp_path, dataset, ranks, optim={"batch": batch})
    assert f"Set optim.batch to {legal}" in error.hint


def test_another_sample_rate_is_refused(tmp_path: Path, dataset: Path) -> None:
    error = refused(tmp_path, dataset, audio={"sample_rate": 16_000})
    assert "packed at 24000 Hz" in str(error)


def test_a_dataset_without_statistics_of_its_sound_is_refused(tmp_path: Path, dataset: Path) -> None:
    bare = changed(dataset, tmp_path / "bare", mel=None)
    assert "mel_mean" in str(refused(tmp_path, bare))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    assert "is not a packed dataset" in str(refused(tmp_path, tmp_path))


def test_long_queues_are_warned_of_and_clips_are_counted_beside_the_paper(tmp_path: Path, dataset: Path) -> None:
    silent = changed(dataset, tmp_path / "one-silent", silent=True)
    refused(tmp_path, silent)  # all are silent: none may be shown
    bare = changed(dataset, tmp_path / "bare", mel=None)
    refused(tmp_path, bare)
    events, _ = read(tmp_path)
    assert [event.code for event in events if isinstance(event, Warned)] == ["queue_too_long"]
    assert '"data/clips":9.0' in (tmp_path / "events.jsonl").read_text()
    assert '"data/paper_clips":224576.0' in (tmp_path / "events.jsonl").read_text()
