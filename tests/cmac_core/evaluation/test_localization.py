"""Scores of hand-made maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmac_core.evaluation.localization import (
    GRID,
    Map,
    View,
    at_cells,
    box_mask,
    chance_overlap,
    field_centers,
    fine,
    middles,
    overlap,
    peaks,
    pointing,
    score_sound,
    score_video,
    sound_target,
    visible,
)

WHOLE = View(0, 0, 1, 1)
EVERY_POINT = (middles(GRID), middles(GRID))


def even(cells: np.ndarray) -> Map:
    """A map whose cells are equal parts of what it is a map of."""
    return Map(cells, tuple(middles(count) for count in cells.shape))


def test_a_peak_in_the_box_hits_and_one_outside_misses() -> None:
    target = box_mask((0.0, 0.0, 0.5, 0.5), WHOLE)
    heat = np.zeros((GRID, GRID))
    heat[5, 5] = 1
    assert pointing(heat, EVERY_POINT, target) == 1
    heat[50, 5] = 2
    assert pointing(heat, EVERY_POINT, target) == 0


def test_a_peak_lies_between_cells_where_a_parabola_has_its_vertex() -> None:
    y, x = np.mgrid[:8, :6]
    bowl = -((y - 3.3) ** 2) - 2 * (x - 1.8) ** 2
    np.testing.assert_allclose(peaks(bowl), [[3.3, 1.8]])
    np.testing.assert_allclose(peaks(bowl[:4]), [[3, 1.8]])  # outermost: it has one neighbor along y
    np.testing.assert_allclose(peaks(np.array([0.0, 1, 1, 0])), [[1.5], [1.5]])
    np.testing.assert_array_equal(peaks(np.ones(3)), [[0], [1], [2]])


def test_a_coarse_map_of_a_blob_points_at_its_middle() -> None:
    stand = field_centers(64, 8)
    blob = np.exp(-((stand[:, None] - 0.44) ** 2 + (stand - 0.56) ** 2) / 2 / 0.1**2)
    around = box_mask((0.54, 0.42, 0.58, 0.46), WHOLE)
    assert pointing(blob, (stand, stand), around) == 1
    assert not at_cells(around, (stand, stand)).any()


def test_a_flat_map_scores_what_chance_does() -> None:
    target = box_mask((0.1, 0.2, 0.4, 0.7), WHOLE)
    flat = np.full((GRID, GRID), 0.5)
    assert pointing(flat, EVERY_POINT, target) == pytest.approx(target.mean())
    assert overlap(flat, target) == pytest.approx(chance_overlap(target.mean()))


def test_noise_scores_what_chance_does() -> None:
    target, random = box_mask((0.1, 0.2, 0.5, 0.7), WHOLE), np.random.default_rng(0)
    noise = random.random((400, GRID, GRID))
    assert np.mean([pointing(heat, EVERY_POINT, target) for heat in noise]) == pytest.approx(target.mean(), abs=0.05)
    assert np.mean([overlap(heat, target) for heat in noise]) == pytest.approx(chance_overlap(target.mean()), abs=0.005)


def test_the_box_itself_overlaps_wholly_and_half_of_it_by_a_third() -> None:
    target = box_mask((0.0, 0.0, 0.5, 0.5), WHOLE)
    assert overlap(target.copy(), target) == 1
    assert overlap(box_mask((0.25, 0.0, 0.75, 0.5), WHOLE), target) == pytest.approx(1 / 3)


def test_what_is_visible_is_the_middle() -> None:
    assert visible(160, 80, 64) == (0.25, 0.0, 0.75, 1.0)
    assert visible(80, 80, 64) == (0, 0, 1, 1)
    tall = visible(80, 160, 64)
    assert (tall.y0, tall.y1) == (0.25, 0.75)


def test_boxes_follow_the_crop() -> None:
    mask = box_mask((0.25, 0.0, 0.5, 0.5), visible(160, 80, 64))
    assert mask[: GRID // 2, : GRID // 2].all()
    assert mask.sum() == GRID * GRID / 4


def test_a_cell_of_time_answers_for_its_own_frames() -> None:
    left, right = box_mask((0.0, 0.0, 0.5, 1.0), WHOLE), box_mask((0.5, 0.0, 1.0, 1.0), WHOLE)
    cells = np.zeros((2, 4, 4), dtype=np.float32)
    cells[0, 1, 0] = cells[1, 1, 3] = 1
    score = score_video(even(cells), [left] * 4 + [right] * 4)
    assert score is not None
    assert (score.pointing, score.chance, score.area) == (1, 0.5, 0.5)
    swapped = score_video(even(cells[::-1]), [left] * 4 + [right] * 4)
    assert swapped is not None
    assert swapped.pointing == 0


def test_frames_without_the_object_are_left_out() -> None:
    left, nothing = box_mask((0.0, 0.0, 0.5, 1.0), WHOLE), np.zeros((GRID, GRID))
    cells = np.zeros((1, 4, 4), dtype=np.float32)
    cells[0, 1, 0] = 1
    score = score_video(even(cells), [left, nothing])
    assert score is not None
    assert score.pointing == 1
    assert score_video(even(cells), [nothing]) is None


def test_sound_is_pointed_at_in_its_band_and_in_its_time() -> None:
    hz, times = np.linspace(0, 12_000, 240), np.linspace(0, 1, 100, endpoint=False)
    target = sound_target((3_000, 6_000), [(0.0, 0.5)], hz, times, rows=8)
    cells = np.zeros((8, 4), dtype=np.float32)
    cells[3, 0] = 1  # 4,500 to 6,000 Hz, first quarter
    score = score_sound(even(cells), target)
    assert score is not None
    assert score[0].pointing == score[1].pointing == 1
    late = np.roll(cells, 3, axis=1)
    score = score_sound(even(late), target)
    assert score is not None
    assert (score[0].pointing, score[1].pointing) == (0, 1)
    assert score_sound(even(cells), sound_target((3_000, 6_000), [(2.0, 3.0)], hz, times, rows=8)) is None


def test_fine_maps_keep_their_peak_in_its_cell() -> None:
    cells = np.zeros((1, 4, 4), dtype=np.float32)
    cells[0, 2, 1] = 1
    y, x = np.unravel_index(fine(even(cells), (1, 64, 64))[0].argmax(), (64, 64))
    assert (y // 16, x // 16) == (2, 1)


def test_equal_parts_are_interpolated_as_torch_does() -> None:
    cells = np.random.default_rng(0).random((3, 5, 4)).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(cells)[None, None], (8, 33, 64), mode="trilinear", align_corners=False)
    np.testing.assert_allclose(fine(even(cells), (8, 33, 64)), theirs[0, 0].numpy(), atol=1e-6)


def test_the_peak_of_a_map_lies_where_its_cell_looks() -> None:
    cells = np.zeros((1, 8, 8), dtype=np.float32)
    cells[0, 3, 7] = 1
    looked = Map(cells, (middles(1), field_centers(64, 8), field_centers(64, 8)))
    assert np.unravel_index(fine(looked, (1, 64, 64))[0].argmax(), (64, 64)) == (24, 56)
    around = [box_mask(((56 + x) / 64, 24 / 64, (57 + x) / 64, 25 / 64), WHOLE) for x in (-1, 0, 1, 7)]
    scores = [score_video(looked, [target]) for target in around]
    assert [score and score.pointing for score in scores] == [0, 1, 0, 0]  # not smeared to the border


def test_beyond_its_outermost_cells_a_map_is_level() -> None:
    rows = fine(Map(np.arange(8, dtype=np.float32), (field_centers(64, 8),)), (64,))
    np.testing.assert_allclose(rows[:57], np.arange(57) / 8)
    assert (rows[57:] == 7).all()
