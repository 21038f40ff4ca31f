"""Convolutions by matrix products give what the library gives, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from cmac_core.models import convolution
from cmac_core.models.convolution import conv_frames, conv_time

# frames, channels, side, channels made, stride: cells fewer than half the channels, than twice, and more.
FRAMES = [(2, 64, 4, 80, 1), (2, 72, 8, 64, 2), (3, 64, 5, 70, 1), (2, 65, 7, 64, 2), (4, 64, 9, 66, 1)]


@pytest.fixture(autouse=True)
def any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products for maps as small as these."""
    monkeypatch.setattr(convolution, "WORK", 0)


def noise(*shape: int) -> torch.Tensor:
    """In fp64, with gradient."""
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))
    ).requires_grad_()


def gradients(y: torch.Tensor, *of: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of a readout whose weights are all different."""
    return torch.autograd.grad((y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum(), of)


@pytest.mark.parametrize(("count", "channels", "side", "made", "stride"), FRAMES)
def test_frames_are_convolved_as_by_the_library(count: int, channels: int, side: int, made: int, stride: int) -> None:
    x, weight = noise(count, channels, side, side + 1), noise(made, channels, 3, 3)
    y, wanted = conv_frames(x, weight, None, stride, 1), F.conv2d(x, weight, None, stride, 1)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(gradients(y, x, weight), gradients(wanted, x, weight))


def test_a_bias_is_added_to_few_cells_and_to_many() -> None:
    weight, bias = noise(64, 64, 3, 3).detach(), noise(64).detach()
    for side in (2, 9):
        x = noise(2, 64, side, side).detach()
        torch.testing.assert_close(conv_frames(x, weight, bias, 1, 1), F.conv2d(x, weight, bias, 1, 1))


@pytest.mark.parametrize("many", [0, 2**10], ids=["a product a tap", "one product"])
@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (4, 1), (5, 1), (1, 2), (4, 2), (5, 2)])
def test_time_is_convolved_as_by_the_library(
    frames: int, stride: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "MANY", many)
    x, weight = noise(2, 64, frames, 6), noise(65, 64, 3, 1)
    y, wanted = conv_time(x, weight, None, stride), F.conv2d(x, weight, None, (stride, 1), (1, 0))
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(gradients(y, x, weight), gradients(wanted, x, weight))


def test_only_what_is_asked_for_has_a_gradient() -> None:
    x, weight = noise(2, 64, 4, 4), noise(64, 64, 3, 3)
    (alone,) = gradients(conv_frames(x.detach(), weight, None, 1, 1), weight)
    torch.testing.assert_close(alone, gradients(F.conv2d(x, weight, None, 1, 1), weight)[0])
    (alone,) = gradients(conv_frames(x, weight.detach(), None, 1, 1), x)
    torch.testing.assert_close(alone, gradients(F.conv2d(x, weight, None, 1, 1), x)[0])


def test_under_autocast_products_are_in_its_type_and_gradients_in_the_weights() -> None:
    x, weight = noise(2, 64, 4, 4).float().detach(), noise(64, 64, 3, 3).float().detach().requires_grad_()
    in_time = weight[..., :1].detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y, z = conv_frames(x, weight, None, 1, 1), conv_time(x, in_time, None, 1)
    assert (y.dtype, z.dtype) == (torch.bfloat16, torch.bfloat16)
    (y.float().square().sum() + z.float().square().sum()).backward()
    exact = F.conv2d(x, weight, None, 1, 1).detach()
    y = y.detach()
    assert float((y - exact).norm() / exact.norm()) < 0.01
    assert weight.grad is not None
    assert in_time.grad is not None
    assert weight.grad.dtype is torch.float32


@pytest.mark.parametrize(("channels", "work"), [(32, 0), (64, 2**24)], ids=["narrow", "small"])
def test_small_networks_are_the_librarys_to_the_bit(channels: int, work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("a product")

    monkeypatch.setattr(convolution, "_patches", unexpected)
    monkeypatch.setattr(convolution, "WORK", work)
    x, weight = noise(2, channels, 2, 2), noise(96, channels, 3, 3)
    y, wanted = conv_frames(x, weight, None, 1, 1), F.conv2d(x, weight, None, 1, 1)
    assert torch.equal(y, wanted)
    assert all(map(torch.equal, gradients(y, x, weight), gradients(wanted, x, weight)))
