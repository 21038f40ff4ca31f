"""How often, and how many at once."""

import pytest

from api.errors import RateLimited, TooManyStreams
from api.rates import Rates, StreamSlots


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = Clock()
    rates = Rates(rate=2, burst=3, now=clock)
    for _ in range(3):
        rates.take("a")
    with pytest.raises(RateLimited) as caught:
        rates.take("a")
    assert caught.value.members == {"retry_after_s": 1}
    rates.take("b")  # another key has its own
    clock.now += 0.5
    rates.take("a")


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    rates = Rates(rate=10, burst=2, now=clock)
    rates.take("a")
    clock.now += 1000
    rates.take("a")
    rates.take("a")
    with pytest.raises(RateLimited):
        rates.take("a")


def test_buckets_of_keys_that_rest_are_forgotten() -> None:
    clock = Clock()
    rates = Rates(rate=1, burst=1, now=clock)
    for number in range(10_000):
        rates.take(str(number))
    clock.now += 10
    rates.take("one more")
    assert len(rates._buckets) == 1


def test_streams_are_counted_for_each_key_and_in_all() -> None:
    slots = StreamSlots(per_key=1, in_all=2)
    with slots.hold("a"):
        with pytest.raises(TooManyStreams) as caught:
            slots.check("a")
        assert caught.value.members == {"limit": 1}
        with slots.hold("b"), pytest.raises(TooManyStreams):
            slots.check("c")
        slots.check("c")
    assert slots.open == 0
