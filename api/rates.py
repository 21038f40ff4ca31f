"""How often, and how many at once: a bucket of tokens for each key, a count of open streams."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from api.errors import RateLimited, TooManyStreams

_MOST_BUCKETS = 10_000


class _Bucket(NamedTuple):
    tokens: float
    at: float


class Rates:
    """Token buckets: `rate` requests a second on the long run, `burst` at once."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """One request of this key. Raises RateLimited."""
        with self._lock:
            now = self._now()
            tokens = self._tokens(key, now)
            if tokens < 1:
                wait = math.ceil((1 - tokens) / self._rate)
                raise RateLimited(
                    f"more than {self._rate:g} requests a second (burst {self._burst}); try again in {wait} s",
                    retry_after_s=wait,
                )
            if len(self._buckets) >= _MOST_BUCKETS:
                self._forget(now)
            self._buckets[key] = _Bucket(tokens - 1, now)

    def _tokens(self, key: str, now: float) -> float:
        bucket = self._buckets.get(key)
        return self._burst if bucket is None else min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)

    def _forget(self, now: float) -> None:
        full = [key for key in self._buckets if self._tokens(key, now) >= self._burst]
        for key in full:
            del self._buckets[key]


class StreamSlots:
    """Open streams, per key and in all. Used on the event loop alone, so it needs no lock."""

    def __init__(self, per_key: int, in_all: int) -> None:
        self._per_key, self._in_all = per_key, in_all
        self._open: dict[str, int] = {}

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(self._open.values())

    def check(self, key: str) -> None:
        """Whether one more may be opened. Raises TooManyStreams."""
        mine = self._open.get(key, 0)
        if mine >= self._per_key:
            raise TooManyStreams(f"this key has {mine} open streams, the most there may be", limit=self._per_key)
        if self.open >= self._in_all:
            raise TooManyStreams(f"{self.open} streams are open, the most there may be", limit=self._in_all)

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Counted for as long as the block lasts."""
        self._open[key] = self._open.get(key, 0) + 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
