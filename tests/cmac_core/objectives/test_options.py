"""METHOD 6's choices in whole steps: each trains, has no unused parameter, and does what its name says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from cmac_core.objectives.cmac import Cmac
from cmac_core.specs.jobs import Pretrain
from tests.cmac_core.objectives.small_runs import OPTIONS, ROWS, batch, built, train, without_gradient
from tests.cmac_core.objectives.two_ranks import wrapped


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of one: DistributedDataParallel refuses a second step when the first left a parameter out."""
    store: Path = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("name", ROWS | OPTIONS)
def test_every_choice_trains_with_no_unused_parameter(name: str) -> None:
    spec, objective = built(name)
    objective.wrap_query(wrapped)
    first, second = train(objective, [batch(spec, step) for step in range(2)])
    assert without_gradient(objective.query) == []
    assert all(value.isfinite() and value.shape == () for losses in (first, second) for value in losses.values())
    torch.testing.assert_close(second["total"], equation_8(spec, second))


def equation_8(spec: Pretrain, parts: dict[str, torch.Tensor]) -> torch.Tensor:
    """L_cl of both directions, the partner terms, and lambda times the weighted L_ac."""
    weights = {"v": spec.loss.ac_weight.video, "a": spec.loss.ac_weight.audio}
    names = [f"{term}/{letter}" for term in ("contrast", "partner") for letter in "va"]
    terms = [parts[name] for name in names if name in parts]
    if "lambda" in parts:
        terms += [parts["lambda"] * weights[letter] * parts[f"attention/{letter}"] for letter in "va"]
    return torch.stack(terms).sum()


def first_step(name: str, **more: object) -> tuple[Cmac, dict[str, torch.Tensor]]:
    spec, objective = built(name, **more)
    return objective, train(objective, [batch(spec)])[0]


@pytest.mark.parametrize("preset", ["paper", "projected"])
def test_the_key_models_maps_teach_what_the_query_models_do_while_both_are_the_same(preset: str) -> None:
    """At the first step the key model is a copy; with the same BN groups its maps are the query's."""
    shuffled = {"preset": preset, "pcf": {"source": "key"}}
    aligned = {**shuffled, "moco": {"key_bn": "aligned"}}
    _, by_query = first_step("full", preset=preset)
    objective, by_key = first_step("full", **aligned)
    torch.testing.assert_close(by_key["attention/v"], by_query["attention/v"])
    torch.testing.assert_close(by_key["attention/a"], by_query["attention/a"])
    _, of_others = first_step("full", **shuffled)  # other BN groups
    assert not torch.allclose(of_others["attention/v"], by_query["attention/v"], rtol=1e-3)
    one = batch(objective.spec)
    assert one.frames is not None
    assert one.spectrogram is not None
    objective.eval()
    shown = objective.sides(one.frames, one.spectrogram)
    assert objective.key is not None
    torch.testing.assert_close(shown.video.filtered, objective.key(one.frames, None).video.filtered)  # type: ignore[union-attr]
    torch.testing.assert_close(shown.video.saliency, objective.query(one.frames, None).video.saliency)  # type: ignore[union-attr]


def test_per_modality_counts_both_maps_as_if_they_had_as_many_cells() -> None:
    _, mean = first_step("mean")
    _, equal = first_step("per_modality")
    cells = (4 + 4) / 2  # 1 x 2 x 2 and 2 x 2 here
    for letter in "va":
        torch.testing.assert_close(equal[f"attention/{letter}"], cells * mean[f"attention/{letter}"])
        torch.testing.assert_close(equal[f"attention/constant_{letter}"], cells * mean[f"attention/constant_{letter}"])


def test_a_modality_without_weight_adds_nothing() -> None:
    objective, losses = first_step("video_alone")
    assert losses["attention/a"] > 0
    assert all(not p.grad.any() for p in objective.query.saliency["audio"].parameters() if p.grad is not None)
    assert any(p.grad.any() for p in objective.query.saliency["video"].parameters() if p.grad is not None)


def test_a_share_bounds_what_attention_weighs() -> None:
    _, losses = first_step("share")
    weighed = losses["lambda"] * (losses["attention/v"] + losses["attention/a"])
    assert weighed.item() == pytest.approx(0.01 * (losses["contrast/v"] + losses["contrast/a"]).item(), rel=1e-5)


@pytest.mark.parametrize("mode", ["flow", "kappa"])
def test_a_target_with_gradient_moves_the_filters_without_contrast(mode: str) -> None:
    objective, _ = first_step(f"{mode}_no_cl")
    assert all(p.grad is not None and p.grad.any() for p in objective.query.filters.parameters())
