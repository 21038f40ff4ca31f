import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from cmac_core.data.spec_augment import UNTOUCHED, Masks, augment, draw_masks, source_frames
from cmac_core.specs.clips import SpecAugment

SHAPE = (257, 99)
MEL = torch.randn(4, 1, *SHAPE, generator=torch.Generator().manual_seed(0)) + 5
WARP = SpecAugment(W=5, n_freq=0, n_time=0)


@given(index=st.integers(0, 10**9), frames=st.integers(12, 300), limit=st.integers(1, 5))
def test_the_warp_keeps_its_ends_runs_forward_and_lands_where_drawn(index: int, frames: int, limit: int) -> None:
    masks = draw_masks(SpecAugment(W=limit), (257, frames), seed=3, train_epoch=1, index=index)
    sources = source_frames(masks, frames)
    assert (sources[0], sources[-1]) == (0, frames - 1)
    assert np.all(np.diff(sources) >= 0)
    assert limit <= masks.center <= frames - 1 - limit
    landing = masks.center + masks.shift
    assert abs(np.interp(landing, np.arange(frames), sources) - masks.center) <= 1.5 * max(1, np.diff(sources).max())


def test_the_frame_at_the_center_lands_at_center_plus_shift() -> None:
    sources = source_frames(Masks(40.0, 4.0, (), ()), 99)
    assert sources[44] == 40
    picture = torch.arange(99.0).expand(1, 1, 3, 99)
    warped = augment(picture, [Masks(40.0, 4.0, (), ())])
    assert warped[0, 0, :, 44].tolist() == [40.0] * 3
    torch.testing.assert_close(warped[0, 0, 0], torch.from_numpy(sources).float())  # linear between frames


def test_no_warp_is_the_identity_and_so_is_nothing_at_all() -> None:
    masks = draw_masks(SpecAugment(W=0, n_freq=0, n_time=0), SHAPE, 0, 0, 0)
    assert torch.equal(augment(MEL, [masks] * 4), MEL)
    assert torch.equal(augment(MEL, [UNTOUCHED] * 4), MEL)


def test_a_picture_too_short_to_warp_is_left_alone() -> None:
    assert draw_masks(WARP, (257, 11), 0, 0, 7).shift == 0
    assert draw_masks(WARP, (257, 12), 0, 0, 7).shift != 0


@given(index=st.integers(0, 10**9))
def test_masks_fit_and_are_narrower_than_their_limit(index: int) -> None:
    masks = draw_masks(SpecAugment(n_freq=2, n_time=2), SHAPE, 0, 0, index)
    for stripes, limit, size in ((masks.bands, 20, 257), (masks.times, 6, 99)):
        assert len(stripes) == 2
        assert all(0 <= width < limit and 0 <= start <= size - width for start, width in stripes)


def test_masked_cells_are_zero_and_no_others_change() -> None:
    out = augment(MEL[:1], [Masks(0.0, 0.0, ((10, 3), (100, 1)), ((50, 4),))])
    hidden = torch.zeros(SHAPE, dtype=torch.bool)
    hidden[10:13] = hidden[100] = True
    hidden[:, 50:54] = True
    assert torch.all(out[0, 0][hidden] == 0)
    assert torch.equal(out[0, 0][~hidden], MEL[0, 0][~hidden])


def test_a_clip_looks_the_same_in_any_batch() -> None:
    masks = [draw_masks(SpecAugment(), SHAPE, seed=1, train_epoch=2, index=i) for i in range(4)]
    together = augment(MEL, masks)
    for i in range(4):
        assert torch.equal(augment(MEL[i : i + 1], masks[i : i + 1])[0], together[i])


def test_draws_depend_on_seed_pass_clip_and_take_alone() -> None:
    first = draw_masks(SpecAugment(), SHAPE, 1, 2, 3)
    np.random.seed(5)
    assert draw_masks(SpecAugment(), SHAPE, 1, 2, 3) == first
    others = [(0, 2, 3, 0), (1, 0, 3, 0), (1, 2, 4, 0), (1, 2, 3, 1)]
    assert all(draw_masks(SpecAugment(), SHAPE, *other) != first for other in others)
