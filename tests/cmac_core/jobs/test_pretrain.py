"""What a user can get wrong about a pretraining, each told before any step."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core.data.dataset_writer import summarize, write_dataset
from cmac_core.data.manifest import read_clips
from cmac_core.events import Ended, Warned, read
from cmac_core.jobs import pretrain
from cmac_core.objectives.cmac import build_objective
from cmac_core.specs import JOB_SPEC, Pretrain
from cmac_core.specs.method import CorrelationFiltering, Optimization
from cmac_core.specs.presets import merged
from cmac_core.training.errors import UserError
from cmac_core.training.inputs import Input
from cmac_core.training.optimizer import optimizer_of
from cmac_core.training.ranks import Place, Ranks
from cmac_core.training.run import Run
from cmac_core.training.state import check_same
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


def test_weight_decay_may_leave_norms_and_biases_alone() -> None:
    for exclude in (False, True):
        spec = JOB_SPEC.validate_python(merged(SPEC, {"optim": {"wd_exclude_norm": exclude, "weight_decay": 0.1}}))
        assert isinstance(spec, Pretrain)
        objective = build_objective(spec)
        optimizer = optimizer_of(spec, objective)
        before = {name: p.detach().clone() for name, p in objective.query.named_parameters()}
        for parameter in objective.query.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for name, p in objective.query.named_parameters():
            decayed = p.dim() > 1 or not exclude
            torch.testing.assert_close(p.detach(), before[name] * (1 - 0.05 * 0.1 * decayed), msg=name)


def test_the_learning_rate_follows_the_spec() -> None:
    optim = Optimization(
        lr=0.01, warmup_epochs=2, warmup_multiplier=8, schedule="step", milestones=(3, 5), gamma=0.5, epochs=6
    )
    schedule = pretrain.schedule_of(optim, steps=10)
    assert [schedule.at(step) for step in (19, 29, 30, 50)] == pytest.approx([0.08, 0.08, 0.04, 0.02])
    assert schedule.at(0) == pytest.approx(0.01 * (1 + 7 / 20))
    plain = pretrain.schedule_of(Optimization(), steps=10)
    assert [plain.at(0), plain.at(99), plain.at(1999)] == pytest.approx([0.0001, 0.01, 0.01])


def test_a_checkpoint_from_before_an_option_goes_on_with_its_default() -> None:
    spec = JOB_SPEC.validate_python(SPEC)
    assert isinstance(spec, Pretrain)
    body = spec.model_dump(mode="json")
    del body["pcf"]["target_grad"], body["single"]
    state = {"spec": body, "dataset": "0" * 64}
    check_same(spec, state, "0" * 64)
    with pytest.raises(UserError, match=r"pcf\.target_grad was 'stop', now 'flow'"):
        check_same(spec.model_copy(update={"pcf": CorrelationFiltering(target_grad="flow")}), state, "0" * 64)
