"""A pretraining that starts from a checkpoint: what it takes, what it does not, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core.objectives.cmac import build_objective
from cmac_core.specs import JOB_SPEC, Pretrain
from cmac_core.specs.presets import merged
from cmac_core.training.checkpoint import load_encoders, load_query
from cmac_core.training.errors import UserError
from cmac_core.training.initial import start_from
from cmac_core.training.run import Run
from tests.cmac_core.jobs.small_jobs import GEOMETRY, MODEL, do, result, warnings
from tests.cmac_core.weights import foreign

INIT = {"id": "00000000-0000-0000-0000-000000000001"}


def spec(**changes: Any) -> Pretrain:
    data = {"frames": GEOMETRY["frames"], "fps": GEOMETRY["fps"], "crop": 48, "short_side": [48, 52], "workers": 0}
    body = {"kind": "pretrain", "dataset": "small", "preset": "projected", "data": data, "model": MODEL, "seed": 7}
    body |= {"moco": {"K": 16}, "optim": {"batch": 8, "epochs": 1, "warmup_epochs": 0}, "init": INIT}
    made = JOB_SPEC.validate_python(merged(body, changes))
    assert isinstance(made, Pretrain)
    return made


def started(tmp_path: Path, checkpoint: Path, **changes: Any) -> tuple[Any, dict[str, Any], Run]:
    objective = build_objective(spec(**changes))
    (tmp_path / "start").mkdir()
    with Run(tmp_path / "start", {}) as run:
        return objective, start_from(checkpoint, objective, run), run


@pytest.fixture(scope="module")
def selavi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported encoders of width 4."""
    folder = tmp_path_factory.mktemp("selavi")
    torch.save(foreign.selavi(), folder / "weights.pth")
    body = JOB_SPEC.validate_python({"kind": "import", "source": {"path": "weights.pth"}})
    run = do(folder / "run", body, weights=folder / "weights.pth")
    return next(run.folder.glob("checkpoints/*/state.pt"))


def test_everything_that_fits_is_taken_and_the_key_model_is_its_copy(small_checkpoint: Path, tmp_path: Path) -> None:
    objective, told, run = started(tmp_path, small_checkpoint)
    before = load_query(small_checkpoint).query.state_dict()
    assert all(value.equal(before[name]) for name, value in objective.query.state_dict().items())
    key, query = objective.key.state_dict(), objective.query.state_dict()
    assert all(value.equal(query[name]) for name, value in key.items())
    assert told["from_seed"] == []
    parts = [f"{part}.{side}" for part in ("encoders", "filters", "heads", "saliency") for side in ("video", "audio")]
    assert told["taken"] == parts
    assert "from the seed: nothing" in warnings(run)["init"]
    assert "init_input" not in warnings(run)


def test_a_head_of_another_size_is_left_to_the_seed(small_checkpoint: Path, tmp_path: Path) -> None:
    objective, told, _ = started(tmp_path, small_checkpoint, model={"head": {"dim": 12}})
    fresh = build_objective(spec(model={"head": {"dim": 12}}))
    assert told["from_seed"] == ["heads.video", "heads.audio"]
    assert objective.query.heads["video"].weight.equal(fresh.query.heads["video"].weight)
    assert not objective.query.filters["video"][0].weight.equal(fresh.query.filters["video"][0].weight)


def test_imported_encoders_are_taken_and_what_they_know_is_told(selavi: Path, tmp_path: Path) -> None:
    objective, told, run = started(tmp_path, selavi, model={"width": 4})
    assert told["taken"] == ["encoders.video", "encoders.audio"]
    expected = load_encoders(selavi).video
    assert expected is not None
    mine = objective.query.encoders["video"].state_dict()
    assert all(value.equal(mine[name]) for name, value in expected.state_dict().items())
    assert "'frontend': 'gdt'" in warnings(run)["init_input"]


def test_one_modality_may_start_from_a_checkpoint_of_two(small_checkpoint: Path, tmp_path: Path) -> None:
    _, told, _ = started(tmp_path, small_checkpoint, objective="single_v", pcf={"space": "filter", "center": "none"})
    assert told["taken"] == ["encoders.video", "filters.video", "heads.video"]


def test_another_architecture_is_refused_by_its_first_tensors(selavi: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"init: the checkpoint's video encoder .* stem.0.weight is \(2, 3, 1, 7, 7\)"):
        started(tmp_path, selavi, model={"width": 2})


def test_a_training_starts_from_it_and_one_that_goes_on_does_not(
    small_set: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    first = do(tmp_path / "first", spec(optim={"epochs": 2}), dataset=small_set, checkpoint=small_checkpoint)
    told = result(first).lineage["init"]
    assert told["taken"][0] == "encoders.video"
    assert "init" in warnings(first)
    halfway = min(first.folder.glob("checkpoints/*/state.pt"))
    second = do(tmp_path / "second", spec(optim={"epochs": 2}), dataset=small_set, resume=halfway)
    assert "init" not in warnings(second)
    assert result(second).lineage["init"] == told
    one, other = (load_encoders(max(run.folder.glob("checkpoints/*/state.pt"))) for run in (first, second))
    assert one.video is not None
    assert other.video is not None
    after = other.video.state_dict()
    assert all(value.equal(after[name]) for name, value in one.video.state_dict().items())


def test_frames_in_the_gdt_front_end_are_scaled_by_its_own_numbers(small_set: Path, tmp_path: Path) -> None:
    run = do(tmp_path / "run", spec(init=None, audio={"frontend": "gdt"}), dataset=small_set)
    trained = load_encoders(max(run.folder.glob("checkpoints/*/state.pt")))
    assert (trained.mel_mean, trained.mel_std) == (1.93, 17.89)
