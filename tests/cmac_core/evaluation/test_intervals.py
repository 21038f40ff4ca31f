"""Intervals of shares."""

import pytest

from cmac_core.evaluation.intervals import spread, wilson


def test_wilson_agrees_with_a_published_example() -> None:
    # Newcombe (1998), table I: 81 of 263 has the score interval .2553 to .3662.
    low, high = wilson(81 / 263, 263)
    assert low == pytest.approx(25.53, abs=0.01)
    assert high == pytest.approx(36.62, abs=0.01)


def test_all_and_none_leave_room_on_one_side() -> None:
    assert wilson(1.0, 10) == (pytest.approx(72.25, abs=0.01), pytest.approx(100))
    assert wilson(0.0, 10) == (pytest.approx(0, abs=1e-9), pytest.approx(27.75, abs=0.01))


def test_the_spread_of_one_fold_is_zero() -> None:
    assert spread([70.0]) == (70.0, 0.0)
    assert spread([70.0, 80.0, 90.0]) == (80.0, 10.0)
