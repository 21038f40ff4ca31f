import pytest
import torch
from torch import nn

from cmac_core.models.batch_norm import GroupedBatchNorm


def batch(clips: int) -> torch.Tensor:
    return torch.randn(clips, 3, 2, 4, 4, generator=torch.Generator().manual_seed(clips)) * 2 + 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_each_group_is_normalised_by_itself(layout: torch.memory_format) -> None:
    x = batch(8).contiguous(memory_format=layout).requires_grad_()
    apart = x.detach().clone().requires_grad_()
    grouped, plain = GroupedBatchNorm(3, group=4), nn.BatchNorm3d(3)
    y, expected = grouped(x), torch.cat([plain(apart[:4]), plain(apart[4:])])
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, apart.grad)
    torch.testing.assert_close(grouped.weight.grad, plain.weight.grad)


def laid_out(layout: str, cells: tuple[int, int, int], seed: int) -> torch.Tensor:
    """Random (8, 6, cells) in memory as a module or a loss may leave it."""
    draw, (t, h, w) = torch.Generator().manual_seed(seed), cells
    match layout:
        case "as_it_is":
            return torch.randn(8, 6, t, h, w, generator=draw)
        case "channels_last":
            return torch.randn(8, 6, t, h, w, generator=draw).contiguous(memory_format=torch.channels_last_3d)
        case "folded":
            return torch.randn(8 * t, 6, h, w, generator=draw).unflatten(0, (8, t)).transpose(1, 2)
        case "folded_channels_last":
            frames = torch.randn(8 * t, 6, h, w, generator=draw).contiguous(memory_format=torch.channels_last)
            return frames.unflatten(0, (8, t)).transpose(1, 2)
        case _:
            return torch.randn(8, 6, 1, 1, 1, generator=draw).expand(8, 6, t, h, w)


LAYOUTS = ("as_it_is", "channels_last", "folded", "folded_channels_last", "expanded")


@pytest.mark.parametrize(
    "cells", [(1, 4, 4), (2, 2, 2), (3, 2, 4), (2, 1, 1), (2, 1, 3), (2, 3, 1), (1, 1, 3), (1, 1, 1)]
)
@pytest.mark.parametrize("group", [4, 8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_right_in_whatever_layout_maps_and_gradients_come(
    cells: tuple[int, int, int], group: int, layout: str
) -> None:
    """Written out in double precision. F.batch_norm itself is wrong for a folded map beside a plain gradient."""
    for incoming in LAYOUTS:
        x, weights = laid_out(layout, cells, 0), laid_out(incoming, cells, 1)
        norm = GroupedBatchNorm(6, group)
        x.requires_grad_()
        norm(x).backward(weights)
        exact = x.detach().double().contiguous().requires_grad_()
        scale = torch.ones(6, 1, 1, 1, dtype=torch.float64, requires_grad=True)
        parts = []
        for clips in exact.split(group):
            off = clips - clips.mean((0, 2, 3, 4), keepdim=True)
            parts.append(off / (off.square().mean((0, 2, 3, 4), keepdim=True) + 1e-5).sqrt() * scale)
        torch.cat(parts).backward(weights.double())
        torch.testing.assert_close(x.grad, exact.grad.float(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.weight.grad, scale.grad.float().flatten(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.bias.grad, weights.sum((0, 2, 3, 4)), rtol=1e-3, atol=1e-4)


def test_running_statistics_move_once_by_the_mean_over_groups() -> None:
    x = batch(8)
    norm = GroupedBatchNorm(3, group=4)
    norm(x)
    groups = x.unflatten(0, (2, 4)).transpose(1, 2).flatten(2, 2).transpose(0, 1).flatten(2)  # (C, groups, values)
    torch.testing.assert_close(norm.running_mean, 0.1 * groups.mean(2).mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * groups.var(2).mean(1))
    assert norm.num_batches_tracked == 1


def test_a_smaller_batch_is_one_group_and_a_ragged_one_a_mistake() -> None:
    x = batch(3)
    torch.testing.assert_close(GroupedBatchNorm(3, group=16)(x), nn.BatchNorm3d(3)(x))
    with pytest.raises(AssertionError, match="5 clips are no multiple of 4"):
        GroupedBatchNorm(3, group=4)(batch(5))


def test_without_a_group_any_batch_is_one() -> None:
    x = batch(5)
    norm, plain = GroupedBatchNorm(3, group=None), nn.BatchNorm3d(3)
    torch.testing.assert_close(norm(x), plain(x))
    torch.testing.assert_close(norm.running_var, plain.running_var)


def test_evaluation_and_names_are_those_of_batch_norm() -> None:
    plain = nn.BatchNorm3d(3)
    plain(batch(8))
    norm = GroupedBatchNorm(3, group=4)
    norm.load_state_dict(plain.state_dict())
    torch.testing.assert_close(norm.eval()(batch(5)), plain.eval()(batch(5)))


def test_a_non_finite_batch_leaves_no_trace() -> None:
    norm = GroupedBatchNorm(3, group=4)
    x = batch(8)
    x[0, 1] = float("nan")
    norm(x)
    assert norm.running_mean.isfinite().all()
    assert norm.running_mean[1] == 0
    assert norm.running_mean[0] != 0
