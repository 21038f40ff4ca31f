"""One step at the paper's size: nothing is made smaller but the batch."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from cmac_core.data.log_mel import LogMel
from cmac_core.objectives.cmac import Batch, build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.optimizer import optimizer_of

BATCH = 4
RANDOM_QUEUE = math.log(2 * 15_000) + 0.893**2 / 2  # METHOD 10: 10.71, from 256-d cosines of spread 1/16, over .07


def parameters(module: nn.Module | Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_step_at_the_papers_size_has_the_losses_of_the_formulas() -> None:
    """A clip is 30 x 128 x 128 and a second of sound; the step takes a minute of one core and 7 GiB."""
    spec = Pretrain(dataset="noise", preset="paper", optim={"batch": BATCH}, model={"bn_group": BATCH})
    objective = build_objective(spec).train()
    assert parameters(objective.query.encoders["video"]) == 31_300_125
    assert parameters(objective.query.encoders["audio"]) == 4_899_520
    assert parameters(objective.query) == 41_577_439
    draw = torch.Generator().manual_seed(0)
    frames = torch.randn(BATCH, 3, 30, 128, 128, generator=draw)
    mel = LogMel(spec.audio)(0.1 * torch.randn(BATCH, 24_000, generator=draw))
    assert mel.shape == (BATCH, 1, 257, 99)
    batch = Batch(frames, (mel - mel.mean()) / mel.std(), torch.arange(BATCH))
    optimizer = optimizer_of(spec, objective)

    before = {name: p.detach().clone() for name, p in objective.query.named_parameters()}
    objective.update_momentum()
    losses = objective.losses(batch, train_epoch=0.0)
    losses["total"].backward()
    optimizer.step()
    objective.enqueue()

    assert all(value.isfinite() for value in losses.values())
    # At the first step, and with one BN group, keys are the queries: the positive is known.
    positive = losses["cosine/matched_embedding"].item() / spec.contrastive.tau
    for letter in "va":
        assert losses[f"contrast/{letter}"].item() + positive == pytest.approx(RANDOM_QUEUE, abs=0.05)
    assert losses["attention/v"].item() == pytest.approx(1.7, rel=0.4)
    assert losses["attention/a"].item() == pytest.approx(0.3, rel=0.6)
    for letter, constant in (("v", 0.06), ("a", 0.01)):
        assert losses[f"attention/s_mean_{letter}"].item() == pytest.approx(0.5, abs=0.01)
        assert losses[f"attention/s_std_{letter}"].item() == pytest.approx(0.016, abs=0.004)
        assert losses[f"attention/constant_{letter}"].item() == pytest.approx(constant, rel=0.5)
    total = sum(losses[f"contrast/{letter}"] + 1.5 * losses[f"attention/{letter}"] for letter in "va")
    assert losses["total"].item() == pytest.approx(float(total), rel=1e-5)

    moved = [name for name, p in objective.query.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) == len(before)
    assert objective.contrast is not None
    assert objective.contrast.queues["video"].keys.shape == (15_000, 256)
    assert objective.contrast.queues["video"].videos[: BATCH + 1].tolist() == [*range(BATCH), -1]
