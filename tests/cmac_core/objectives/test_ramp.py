import pytest
import torch

from cmac_core.objectives.ramp import Lambda
from cmac_core.specs.method import LambdaRamp

CHANCE, ATTENTION = 20.0, torch.tensor(2.0)


def values(weight: Lambda, epochs: list[float]) -> list[float]:
    return [weight(epoch, torch.tensor(CHANCE), ATTENTION).item() for epoch in epochs]


def test_without_a_ramp_lambda_is_what_the_spec_says() -> None:
    assert values(Lambda(1.5, None, CHANCE), [0.0, 7.0]) == [1.5, 1.5]


def test_by_passes_it_grows_from_start_to_end() -> None:
    weight = Lambda(1.5, LambdaRamp(start=1, end=3), CHANCE)
    assert values(weight, [0.0, 1.0, 2.0, 3.0, 9.0]) == pytest.approx([0, 0, 0.75, 1.5, 1.5])


def test_by_contrast_it_follows_the_fall_below_chance_and_back() -> None:
    weight = Lambda(1.5, LambdaRamp(by="contrast", start=0.1, end=0.5), CHANCE)
    assert weight(0.0, torch.tensor(CHANCE), ATTENTION) == 0
    fallen = [weight(0.0, torch.tensor(0.7 * CHANCE), ATTENTION).item() for _ in range(200)]
    assert fallen[0] == 0  # one step is not a trend
    assert fallen == sorted(fallen)
    assert fallen[-1] == pytest.approx(1.5 * (0.3 - 0.1) / 0.4, rel=1e-3)
    assert weight(0.0, torch.tensor(float("nan")), ATTENTION).item() == pytest.approx(fallen[-1], rel=1e-3)
    risen = [weight(0.0, torch.tensor(CHANCE), ATTENTION).item() for _ in range(200)]
    assert risen[-1] == 0


def test_a_share_holds_lambda_down_while_attention_is_loud() -> None:
    weight = Lambda(1.5, None, CHANCE, share=0.1)
    contrast = torch.tensor(20.0)
    assert weight(0.0, contrast, torch.tensor(1.0)).item() == pytest.approx(1.5)  # 1.5 of 20 is less than a tenth
    loud = weight(0.0, contrast, torch.tensor(50.0))
    assert (loud * 50).item() == pytest.approx(0.1 * 20)
    assert weight(0.0, contrast, torch.tensor(0.0)).item() == pytest.approx(1.5)
    ramped = Lambda(1.5, LambdaRamp(start=1, end=3), CHANCE, share=0.1)
    assert ramped(2.0, contrast, torch.tensor(1.0)).item() == pytest.approx(0.75)
