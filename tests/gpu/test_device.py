"""What a GPU computes is what the CPU does (`make test-gpu`)."""

import copy
from collections.abc import Iterator

import pytest
import torch

from benchmarks.gpu.step import exact_matmul
from cmac_core.data.video_augment import augment, draw_view
from cmac_core.models.encoders import build_video
from cmac_core.models.folding import without_norms
from cmac_core.models.fused import fuse, widened
from cmac_core.models.fused_norm import disagreement
from cmac_core.specs.clips import ClipSampling, ColorJitter
from cmac_core.specs.method import Model
from cmac_core.training.precision import autocast, make_ready

pytestmark = pytest.mark.gpu


@pytest.fixture
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.fail("there is no CUDA device here; these tests are left out by make test and make test-system")
    return torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact_matmul():
        yield


def off(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    mine, theirs = mine.detach().cpu().float(), theirs.detach().cpu().float()
    return float((mine - theirs).norm() / theirs.norm())


def test_the_fused_norm_agrees_with_the_library(device: torch.device) -> None:
    assert disagreement(device) is None


def test_a_fused_network_trains_as_the_cpus(device: torch.device) -> None:
    torch.manual_seed(0)
    plain = build_video(Model(width=16, bn_group=2, stages=3))
    fused = copy.deepcopy(plain).to(device)
    fuse(fused)
    clips = torch.randn(4, 3, 8, 48, 48)
    maps = [fused(clips.to(device)), plain(clips)]
    assert off(*maps) < 1e-4
    for y in maps:
        (y * torch.linspace(-1, 1, y.numel(), device=y.device).view(y.shape)).sum().backward()
    for (name, mine), theirs in zip(fused.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        # In fp32 a few ReLUs turn by rounding.
        assert off(mine.grad, theirs.grad) < 0.05, name
    for (name, mine), theirs in zip(fused.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-3, atol=1e-4, msg=name)


def test_features_in_sixteen_bits_are_those_of_the_cpu_in_thirty_two(device: torch.device) -> None:
    make_ready("bf16", device)
    torch.manual_seed(0)
    network = build_video(Model(width=16, bn_group=2, stages=3))
    clips = torch.randn(4, 3, 8, 48, 48)
    network(clips)
    folded = without_norms(network.eval())
    wide = widened(copy.deepcopy(folded).to(device))
    with torch.no_grad(), autocast("bf16", device):
        found = wide(clips.to(device))
    assert off(found, folded(clips)) < 0.02


@pytest.mark.parametrize("jittered", [False, True])
def test_clips_look_as_on_a_cpu(jittered: bool, device: torch.device) -> None:
    color = ColorJitter(on=jittered, brightness=0.4, contrast=0.4, saturation=0.4, p=0.6)
    sampling = ClipSampling(frames=4, crop=32, short_side=(32, 48), color_jitter=color)
    draw = torch.Generator().manual_seed(0)
    sizes = [(60, 90), (60, 90), (50, 40), (60, 90)]
    clips = [torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8, generator=draw) for size in sizes]
    views = [draw_view(sampling, 1, 0, index) for index in range(len(clips))]
    seen = augment([clip.to(device) for clip in clips], views, sampling)
    assert seen.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(seen.cpu(), augment(clips, views, sampling), rtol=0, atol=1e-4)
