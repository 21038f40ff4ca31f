import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import functional as oracle

from cmac_core.data import video_augment
from cmac_core.data.video_augment import augment, center_view, draw_view
from cmac_core.data.video_batch import see_together
from cmac_core.data.video_view import Jitter, View, see
from cmac_core.specs.clips import ClipSampling, ColorJitter

SAMPLING = ClipSampling(frames=2, crop=32, short_side=(32, 48))


def clip(height: int, width: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=draw)


def resized(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    return F.interpolate(pixels, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("source", "short_side", "size"),
    [((60, 90), 40, (40, 60)), ((90, 61), 40, (59, 40)), ((24, 30), 40, (40, 50)), ((40, 40), 40, (40, 40))],
)
def test_the_view_is_a_crop_of_the_antialiased_resize(
    source: tuple[int, int], short_side: int, size: tuple[int, int]
) -> None:
    frames = clip(*source)
    view = View(short_side, top=0.25, left=0.7, flip=False, jitter=None)
    top, left = round(0.25 * (size[0] - 32)), round(0.7 * (size[1] - 32))
    expected = resized(frames, size)[:, top : top + 32, left : left + 32]
    torch.testing.assert_close(see(frames, view, 32, 0.0, 1.0), expected, rtol=0, atol=1e-5)
    flipped = see(frames, view._replace(flip=True), 32, 0.0, 1.0)
    torch.testing.assert_close(flipped, expected.flip(2), rtol=0, atol=1e-5)


def test_colors_change_as_torchvision_changes_them() -> None:
    frames = clip(32, 32)[:1]  # of one frame: contrast turns about the mean of the whole clip
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    for order in (("brightness", "contrast", "saturation"), ("saturation", "contrast", "brightness")):
        expected = pixels
        for name in order:
            factor = {"brightness": 1.3, "contrast": 0.7, "saturation": 1.4}[name]
            expected = getattr(oracle, f"adjust_{name}")(expected, factor)
        seen = see(frames, View(32, 0, 0, False, Jitter(order, 1.3, 0.7, 1.4)), 32, 0.45, 0.225)
        torch.testing.assert_close(seen, (expected.permute(0, 2, 3, 1) - 0.45) / 0.225, rtol=0, atol=5e-3)


def test_contrast_keeps_a_flash_a_flash() -> None:
    frames = torch.stack([torch.zeros(32, 32, 3), torch.full((32, 32, 3), 200)]).to(torch.uint8)
    seen = see(frames, View(32, 0, 0, False, Jitter(("contrast",), 1, 0.6, 1)), 32, 0.0, 1.0)
    assert seen[1].mean() - seen[0].mean() == pytest.approx(0.6 * 200 / 255, abs=1e-4)


def test_a_batch_may_mix_sizes_and_a_clip_looks_the_same_in_any() -> None:
    clips = [clip(60, 90, 1), clip(50, 40, 2), clip(36, 36, 3)]
    views = [draw_view(SAMPLING, 0, 0, index) for index in range(3)]
    together = augment(clips, views, SAMPLING)
    assert together.shape == (3, 3, 2, 32, 32)
    assert together.is_contiguous(memory_format=torch.channels_last_3d)
    for own, view, seen in zip(clips, views, together, strict=True):
        torch.testing.assert_close(augment(own[None], [view], SAMPLING)[0], seen, rtol=0, atol=1e-6)


def test_evaluation_shows_the_center_of_the_whole_picture() -> None:
    frames = clip(60, 90)
    expected = (resized(frames, (32, 48))[:, :, 8:40] - 0.45) / 0.225
    torch.testing.assert_close(center_view(frames[None], 32)[0].permute(1, 2, 3, 0), expected, rtol=0, atol=1e-4)


def test_each_channel_may_have_its_own_mean_and_deviation() -> None:
    frames = torch.randint(0, 255, (1, 4, 40, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    plain = center_view(frames, 32, 0.0, 1.0)
    expected = oracle.normalize(plain[0].transpose(0, 1), mean, std).transpose(0, 1)
    torch.testing.assert_close(center_view(frames, 32, mean, std)[0], expected)
    sampling = ClipSampling(crop=32, short_side=(32, 32), mean=mean, std=std)
    view = View(32, 0.5, 0.5, False, None)
    torch.testing.assert_close(augment(frames, [view], sampling)[0], expected)


def test_views_are_drawn_from_their_ranges_and_from_seed_pass_and_clip_alone() -> None:
    views = [draw_view(SAMPLING, 0, 0, index) for index in range(300)]
    assert {view.short_side for view in views} == set(range(32, 49))
    assert 0.4 < sum(view.flip for view in views) / 300 < 0.6
    assert min(view.top for view in views) < 0.05 < 0.95 < max(view.top for view in views)
    assert all(view.jitter and 0.6 <= view.jitter.contrast <= 1.4 for view in views)
    assert len({view.jitter.order for view in views if view.jitter}) == 6
    assert draw_view(SAMPLING, 0, 0, 7) == views[7]
    assert len({draw_view(SAMPLING, *key) for key in ((0, 0, 7, 0), (1, 0, 7, 0), (0, 1, 7, 0), (0, 0, 7, 1))}) == 4


def test_jitter_is_off_in_ablations_and_half_the_time_when_asked() -> None:
    off = SAMPLING.model_copy(update={"color_jitter": ColorJitter(on=False)})
    half = SAMPLING.model_copy(update={"color_jitter": ColorJitter(p=0.5)})
    assert all(draw_view(off, 0, 0, index).jitter is None for index in range(20))
    assert 0.4 < sum(draw_view(half, 0, 0, index).jitter is not None for index in range(300)) / 300 < 0.6


@pytest.mark.parametrize("size", [(60, 90), (90, 61), (24, 30)])
@pytest.mark.parametrize("jittered", [False, True])
def test_clips_of_one_size_look_the_same_together(size: tuple[int, int], jittered: bool) -> None:
    """As a GPU sees them: each with a view of its own, some with changed colors and some without."""
    color = ColorJitter(on=jittered, brightness=0.4, contrast=0.4, saturation=0.4, p=0.6)
    sampling = SAMPLING.model_copy(update={"color_jitter": color})
    clips = torch.stack([clip(*size, seed) for seed in range(8)])
    views = [draw_view(sampling, 1, 0, index) for index in range(8)]
    assert {view.flip for view in views} == {False, True}
    if jittered:
        assert {view.jitter is None for view in views} == {False, True}
    apart = torch.stack([see(one, view, 32, 0.45, 0.225) for one, view in zip(clips, views, strict=True)])
    torch.testing.assert_close(see_together(clips, views, 32, 0.45, 0.225), apart, rtol=0, atol=1e-5)


def test_together_a_batch_may_mix_sizes_too() -> None:
    clips = [clip(60, 90, 1), clip(50, 40, 2), clip(60, 90, 3)]
    views = [draw_view(SAMPLING, 0, 0, index) for index in range(3)]
    together = video_augment._by_size(clips, views, 32, 0.45, 0.225)
    torch.testing.assert_close(together, augment(clips, views, SAMPLING), rtol=0, atol=1e-5)
    assert together.is_contiguous(memory_format=torch.channels_last_3d)
