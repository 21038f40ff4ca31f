"""The norm of all groups at once is the library's, group by group, or it is not taken."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cmac_core.models import fused_norm
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.encoders import build_video
from cmac_core.models.fused_norm import FusedNorm, disagreement, fuse_norms, normalised
from cmac_core.models.r2plus1d import R2Plus1D18
from cmac_core.specs.method import Model

CPU = torch.device("cpu")


def test_it_agrees_with_the_library() -> None:
    assert disagreement(CPU) is None


def broken(change: str) -> Any:
    """The expression with one thing wrong: what a bad kernel might do."""

    def expression(
        x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        if change == "gradient of weight":
            weight = weight.detach() + 0 * weight
        if change == "groups":
            groups = 1
        y, mean, variance = normalised(x, weight, bias, groups, eps, relu and change != "ReLU")
        return y, mean, variance * (1.01 if change == "variance" else 1)

    return expression


@pytest.mark.parametrize("change", ["gradient of weight", "groups", "ReLU", "variance"])
def test_what_is_wrong_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_norm, "normalised", broken(change))
    fault = disagreement(CPU)
    assert fault is not None
    assert " is off by " in fault
    if change.startswith("gradient"):
        assert fault.startswith("gradient of weight is off by 1.0e+00 in torch.float32")


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no C compiler\nfound")

    monkeypatch.setattr(fused_norm, "normalised", failing)
    assert disagreement(CPU) == "RuntimeError: no C compiler"


def test_a_fused_network_is_the_same_network() -> None:
    torch.manual_seed(0)
    plain = build_video(Model(width=8, bn_group=2, stages=3))
    fused = build_video(Model(width=8, bn_group=2, stages=3))
    fused.load_state_dict(plain.state_dict())
    fuse_norms(nn.ModuleDict({"video": fused}))
    norms = [part for part in fused.modules() if isinstance(part, GroupedBatchNorm)]
    assert all(isinstance(norm, FusedNorm) for norm in norms)
    assert not [part for part in fused.modules() if isinstance(part, nn.ReLU)]
    assert sum(norm.relu for norm in norms if isinstance(norm, FusedNorm)) == 2 + 6 * 3
    assert list(fused.state_dict()) == list(plain.state_dict())
    clips = torch.randn(4, 3, 8, 48, 48)
    maps = [network(clips) for network in (fused, plain)]
    torch.testing.assert_close(*maps, rtol=1e-3, atol=1e-3)
    for y in maps:
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    for (name, mine), theirs in zip(fused.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        # In fp32 a few ReLUs turn by rounding; against fp64 the library's are off by as much.
        assert float((mine.grad - theirs.grad).norm() / theirs.grad.norm()) < 0.05, name
    torch.testing.assert_close(dict(fused.named_buffers()), dict(plain.named_buffers()))
    torch.testing.assert_close(fused.eval()(clips), plain.eval()(clips), rtol=1e-3, atol=1e-3)


def test_only_video_networks_are_fused() -> None:
    norm = GroupedBatchNorm(3, 2)
    fuse_norms(nn.Sequential(norm, nn.ReLU()))
    assert type(norm) is GroupedBatchNorm
    fuse_norms(R2Plus1D18(2, 2))
