"""The plain loop and ours train the same thing, so that a ratio between them is one."""

from collections.abc import Iterator

import pytest
import torch

from benchmarks.plain import PlainLoop, unfolded
from cmac_core.models import convolution
from cmac_core.models.fused import fuse
from cmac_core.objectives.cmac import Batch, Cmac, build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.optimizer import optimizer_of

STEPS, CLIPS = 50, 4
# With the usual temperature and rate, and noise for clips, rounding alone (ReLUs that turn) is a tenth after ten steps.
SPEC = Pretrain.model_validate(
    {
        "dataset": "noise",
        "preset": "paper",
        "seed": 5,
        "model": {"width": 8, "stages": 3, "bn_group": CLIPS, "head": {"dim": 16}},
        "moco": {"K": 64, "m": 0.9, "key_bn": "aligned"},
        "contrastive": {"tau": 1.0},
        "loss": {"lambda_ac": 0},
        "optim": {"batch": CLIPS, "lr": 3e-5},
    }
)


def batches() -> Iterator[Batch]:
    """Of each step: four of sixteen clips of noise."""
    draw = torch.Generator().manual_seed(1)
    frames, mel = torch.randn(16, 3, 8, 32, 32, generator=draw), torch.randn(16, 1, 65, 48, generator=draw)
    for step in range(STEPS):
        rows = torch.randperm(16, generator=draw)[:CLIPS]
        yield Batch(frames[rows], mel[rows], torch.arange(CLIPS) + CLIPS * step)


def losses(ours: Cmac) -> list[float]:
    """Of each step, in METHOD 5's order."""
    optimizer = optimizer_of(SPEC, ours)
    for group in optimizer.param_groups:
        group["lr"] = SPEC.optim.lr
    found = []
    for batch in batches():
        ours.begin_step()
        loss = ours.losses(batch, 1.0)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ours.end_step()
        found.append(float(loss.detach()))
    return found


@pytest.fixture(scope="module")
def wanted() -> list[float]:
    """The plain loop's losses."""
    ours = build_objective(SPEC).train()
    plain = PlainLoop(ours, SPEC, unfolded(ours.query.encoders))
    return [float(plain.step(batch.frames, batch.spectrogram)) for batch in batches()]


@pytest.mark.system
@pytest.mark.parametrize("way", ["products", "fused"])
def test_fifty_losses_are_the_plain_loops(way: str, wanted: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """To half a percent in fp32, while the loss moves by more than a tenth."""
    ours = build_objective(SPEC).train()
    if way == "products":
        monkeypatch.setattr(convolution, "WORK", 0)
        monkeypatch.setattr(convolution, "WIDE", 8)
    if way == "fused":
        fuse(ours)
    found = losses(ours)
    assert found == pytest.approx(wanted, rel=5e-3)
    assert max(found) / min(found) > 1.1
