"""Fused encoders are the same encoders: state dict, maps, gradients, running statistics, evaluation."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.encoders import build_audio, build_video
from cmac_core.models.folding import without_norms
from cmac_core.models.fused import FoldedStem, FrozenStem, fuse, padded, widened
from cmac_core.models.fused_norm import FusedNorm
from cmac_core.models.r2plus1d import SpatialConv, TemporalConv
from cmac_core.specs.method import Model


class Encoder(NamedTuple):
    """A kind of network, and clips for it."""

    build: Callable[[], nn.Module]
    clips: tuple[int, ...]


ENCODERS = {
    "video": Encoder(lambda: build_video(Model(width=8, bn_group=2, stages=3)), (4, 3, 8, 48, 48)),
    "odd frames": Encoder(lambda: build_video(Model(width=8, bn_group=4, stages=2)), (4, 3, 6, 33, 48)),
    "audio": Encoder(lambda: build_audio(Model(width=8, bn_group=2)), (4, 1, 65, 50)),
}


def pair(encoder: Encoder) -> tuple[nn.Module, nn.Module]:
    """Fused and plain, with the same weights, in fp64: in fp32 a few ReLUs turn by rounding."""
    torch.manual_seed(0)
    plain = encoder.build().double()
    fused = copy.deepcopy(plain)
    fuse(nn.ModuleDict({"encoder": fused}))
    return fused, plain


def off(mine: Tensor, theirs: Tensor) -> float:
    return float(((mine - theirs).norm() / theirs.norm()).detach())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_fused_encoder_is_the_same_encoder(name: str) -> None:
    encoder = ENCODERS[name]
    fused, plain = pair(encoder)
    assert list(fused.state_dict()) == list(plain.state_dict())
    clips = torch.randn(encoder.clips, dtype=torch.float64)
    maps = [network(clips) for network in (fused, plain)]
    assert off(*maps) < 1e-12
    for y in maps:
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    for (called, mine), theirs in zip(fused.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert off(mine.grad, theirs.grad) < 1e-9, called
    torch.testing.assert_close(dict(fused.named_buffers()), dict(plain.named_buffers()))
    torch.testing.assert_close(fused.eval()(clips), plain.eval()(clips))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_norm_is_fused_and_every_relu_is_in_one(name: str) -> None:
    fused, _ = pair(ENCODERS[name])
    norms = [part for part in fused.modules() if isinstance(part, GroupedBatchNorm)]
    assert all(isinstance(norm, FusedNorm) for norm in norms)
    shortcuts = [name for name, _ in fused.named_modules() if name.endswith("downsample")]
    assert sum(norm.relu for norm in norms if isinstance(norm, FusedNorm)) == len(norms) - len(shortcuts)


def test_frames_that_want_a_gradient_get_it() -> None:
    encoder = ENCODERS["video"]
    found = []
    for network in pair(encoder):
        clips = torch.linspace(-1, 1, 4 * 3 * 8 * 48 * 48, dtype=torch.float64).sin().view(encoder.clips)
        clips.requires_grad_()
        y = network(clips)
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
        assert clips.grad is not None
        found.append(clips.grad)
    assert off(*found) < 1e-9


def test_the_stem_over_squares_is_the_stem() -> None:
    stem = SpatialConv(3, 5, 7, 2).double()
    frames = torch.randn(2, 3, 3, 12, 16, dtype=torch.float64)
    wanted = F.conv3d(frames, stem.weight, None, (1, 2, 2), (0, 3, 3))
    stem.__class__ = FoldedStem
    found = stem(frames)
    assert found.shape[1] == padded(5)
    torch.testing.assert_close(found[:, :5], wanted)
    assert not found[:, 5:].any()


@pytest.mark.parametrize(("channels", "wide"), [(45, 48), (144, 144), (230, 256), (288, 288), (460, 480), (921, 928)])
def test_middle_channels_are_padded_to_what_is_fast(channels: int, wide: int) -> None:
    assert padded(channels) == wide


def test_a_widened_encoder_gives_the_features_of_the_folded_one() -> None:
    torch.manual_seed(0)
    plain = build_video(Model(width=8, bn_group=2, stages=3)).double()
    clips = torch.randn(4, 3, 8, 48, 48, dtype=torch.float64)
    plain(clips)
    folded = without_norms(plain.eval())
    wide = widened(copy.deepcopy(folded))
    torch.testing.assert_close(wide(clips), folded(clips))
    assert isinstance(wide.stem[0], FrozenStem)
    middles = [part.out_channels for part in wide.modules() if isinstance(part, SpatialConv)]
    assert middles == [part.in_channels for part in wide.modules() if isinstance(part, TemporalConv)]
    assert not [channels for channels in middles if channels % 16]
