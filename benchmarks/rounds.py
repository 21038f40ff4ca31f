"""Time two ways of doing one thing, round by round in turn, and give the ratio with its interval."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """How much faster `ours` is than `plain`: the median of the rounds' ratios and its 95 % interval."""

    name: str
    unit: str
    ours: float  # median, units per second
    plain: float
    ratio: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Limit:
    """Something that may take no longer than `most`, whatever machine it is."""

    name: str
    unit: str
    value: float  # median, or what the name says
    most: float
    rounds: int


@dataclass(frozen=True)
class Growth:
    """How a pass and lists get slower with what is queued and finished; milliseconds."""

    queued: int
    finished: int
    pass_ms: float  # median
    list_ms: float  # 95th percentile


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step with clips of this size, ours and plain: how both grow."""

    clips: int
    frames: int
    side: int  # pixels
    ours: float  # medians, processor time
    plain: float


def compare(
    name: str,
    ours: Callable[[], object],
    plain: Callable[[], object],
    *,
    work: float,
    unit: str,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
    after: Callable[[], object] = lambda: None,
) -> Comparison:
    """Run both alternately; `work` is how many units one call does. The first round warms up and is not counted.

    With `time.process_time` as the `clock` others on the machine count less; for work of this process alone.
    `after` follows each call of ours, in time that nobody waits for.
    """
    times = []
    for _ in range(rounds + 1):
        fast = _time(ours, clock)
        after()
        times.append((fast, _time(plain, clock)))
    return comparison(name, times[1:], work=work, unit=unit)


def comparison(name: str, times: Sequence[tuple[float, float]], *, work: float, unit: str) -> Comparison:
    """What the seconds of ours and of the other, round by round, say."""
    ratios = np.array([slow / fast for fast, slow in times])
    # The bootstrap of the median: rounds are few and their noise is not normal.
    draws = np.random.default_rng(0).choice(ratios, (2000, len(times)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
    return Comparison(
        name, unit, work / fast, work / slow, float(np.median(ratios)), float(low), float(high), len(times)
    )


def _time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start
