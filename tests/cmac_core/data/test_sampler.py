"""The order of the data is a pure function, whatever the ranks."""

import numpy as np
import pytest

from cmac_core.data.sampler import Position, Sampler, order, stand_ins, start_draw


def test_a_pass_shows_each_video_once_and_drops_what_is_left() -> None:
    sampler = Sampler(videos=17, per_step=4, seed=1)
    assert sampler.steps == 4
    shown = np.concatenate([sampler.batch(Position(0, batch)) for batch in range(4)])
    assert len(set(shown)) == 16
    assert set(shown) <= set(range(17))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_divide_a_batch_and_change_nothing_else(ranks: int) -> None:
    sampler = Sampler(videos=100, per_step=8, seed=1)
    for position in (Position(0, 0), Position(3, 7)):
        parts = [sampler.batch(position, rank, ranks) for rank in range(ranks)]
        assert np.concatenate(parts).tolist() == sampler.batch(position).tolist()


def test_passes_and_seeds_differ_and_repeat() -> None:
    assert order(1, 0, 50).tolist() == order(1, 0, 50).tolist()
    assert order(1, 0, 50).tolist() != order(1, 1, 50).tolist()
    assert order(1, 0, 50).tolist() != order(2, 0, 50).tolist()
    # Written out, so that no version of the library changes what an old seed means.
    assert order(0, 0, 8).tolist() == np.random.Generator(np.random.Philox(key=[0, 0])).permutation(8).tolist()


def test_positions_follow_each_other_over_passes() -> None:
    sampler = Sampler(videos=9, per_step=4, seed=0)
    position = Position()
    for step in range(7):
        assert position == sampler.at(step)
        position = sampler.after(position)
    assert sampler.at(5) == Position(2, 1)


def test_starts_spread_over_the_whole_window() -> None:
    draws = [start_draw(0, train_epoch, 3) for train_epoch in range(400)]
    assert 0 <= min(draws) < 0.02
    assert 0.98 < max(draws) < 1
    assert start_draw(0, 1, 3, take=0) != start_draw(0, 1, 3, take=1)


def test_a_chain_of_stand_ins_is_fixed_and_never_leads_back() -> None:
    for place in range(12):
        chain = stand_ins(5, place, 12, 10)
        assert chain == stand_ins(5, place, 12, 10)
        assert len(set(chain)) == 10
        assert place not in chain
        assert set(chain) <= set(range(12))
    assert len(stand_ins(5, 0, 4, 10)) == 3
