import numpy as np
import pytest
import torch

from cmac_core.models.branch import Branch, Side
from cmac_core.objectives.attention import Guide, attention_consistency
from cmac_core.specs.method import CorrelationFiltering, Head, Model

BRANCH = Branch(Model(width=1, head=Head(dim=5, shared=False)), ("video", "audio"), heads=True, saliency=False)


def side(clips: int, cells: tuple[int, ...], seed: int) -> Side:
    filtered = torch.randn(clips, 8, *cells, generator=torch.Generator().manual_seed(seed)) + 1
    return Side(filtered.requires_grad_(), filtered.flatten(2).mean(2), None, None)


VIDEO, AUDIO = side(6, (2, 4, 4), 0), side(6, (5, 3), 1)


def test_it_is_equation_6_written_out() -> None:
    s, guess = torch.rand(3, 2, 4), torch.rand(3, 2, 4)
    squares = [sum((a - b) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True)) for x, y in zip(s, guess)]  # noqa: B905
    assert attention_consistency(s, guess, "sum", 20).item() == pytest.approx(np.mean(squares), rel=1e-5)
    assert attention_consistency(s, guess, "mean", 20).item() == pytest.approx(np.mean(squares) / 8, rel=1e-5)
    equal = attention_consistency(s, guess, "per_modality", 20).item()
    assert equal == pytest.approx(20 * np.mean(squares) / 8, rel=1e-5)
    assert attention_consistency(s, s, "sum", 20) == 0


def test_no_gradient_reaches_the_target() -> None:
    for space in ("filter", "projected"):
        guided = Guide(CorrelationFiltering(space=space), 8)(VIDEO, AUDIO, BRANCH)
        assert not guided.video.requires_grad
        assert not guided.audio.requires_grad


def test_each_modality_is_guided_by_the_others_kernel() -> None:
    guide = Guide(CorrelationFiltering(), 8)
    before = guide(VIDEO, AUDIO, BRANCH)
    after = guide(VIDEO, AUDIO._replace(kernel=AUDIO.kernel.roll(1, 0)), BRANCH)
    assert not torch.equal(before.video, after.video)
    assert torch.equal(before.audio, after.audio)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((1 + a @ b / a.norm() / b.norm()) / 2)


@torch.no_grad()
def test_projected_and_centered_compares_after_the_heads_without_the_batchs_mean() -> None:
    guide = Guide(CorrelationFiltering(space="projected", center="batch", scales=1), 5)
    s = guide(VIDEO, AUDIO, BRANCH).video
    kernels = BRANCH.project("audio", AUDIO.kernel)
    cells = BRANCH.project("video", VIDEO.filtered.movedim(1, -1))  # (B, 2, 4, 4, 5)
    kernel = kernels[2] - kernels.mean(0)
    cell = cells[2, 1, 3, 0] - cells.flatten(0, 3).mean(0)  # the mean of positions is that of kernels
    assert s[2, 1, 3, 0].item() == pytest.approx(cosine(kernel, cell), abs=1e-5)


def test_running_centers_move_in_training_and_rule_outside() -> None:
    guide = Guide(CorrelationFiltering(center="ema"), 8)
    center = guide.centers["video"]
    guide(VIDEO, AUDIO, BRANCH)
    torch.testing.assert_close(center.mean, VIDEO.kernel.mean(0).detach())  # the first step is taken whole
    other = side(6, (2, 4, 4), 2)
    guide(other, AUDIO, BRANCH)
    expected = 0.9 * VIDEO.kernel.mean(0) + 0.1 * other.kernel.mean(0)
    torch.testing.assert_close(center.mean, expected.detach())
    guide.eval()
    alone = guide(*(Side(*(x if x is None else x[:1] for x in one)) for one in (VIDEO, AUDIO)), BRANCH)
    torch.testing.assert_close(alone.video, guide(VIDEO, AUDIO, BRANCH).video[:1])  # whoever is beside
    torch.testing.assert_close(center.mean, expected.detach())


def test_before_any_training_the_clips_at_hand_are_the_center() -> None:
    pcf = CorrelationFiltering(center="batch")
    untrained = Guide(pcf, 8).eval()
    torch.testing.assert_close(untrained(VIDEO, AUDIO, BRANCH), Guide(pcf, 8)(VIDEO, AUDIO, BRANCH))
