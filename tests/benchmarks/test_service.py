"""The full service is measured against limits, and a limit that is missed is named."""

import pytest

from benchmarks import __main__ as bench
from benchmarks import full_lab, service
from benchmarks.rounds import Growth, Limit


@pytest.mark.system
def test_all_rows_of_the_service_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a lab of a hundredth of the size."""
    for name, value in {"QUEUED": 300, "FINISHED": 200, "POINTS_QUICK": 1000, "LONG": 2000}.items():
        monkeypatch.setattr(service, name, value)
    monkeypatch.setattr(full_lab, "STEPS", 100)
    rows = list(service.measure(quick=True))
    growth = [(row.queued, row.finished) for row in rows if isinstance(row, Growth)]
    assert growth == [(3, 0), (30, 0), (300, 0), (300, 200)]
    limits = {row.name: row for row in rows if isinstance(row, Limit)}
    assert len(limits) == 8
    assert all(row.value > 0 for row in limits.values())


def test_a_limit_that_is_missed_is_named() -> None:
    rows = [Growth(1, 2, 3.0, 4.0), Limit("lists", "ms", 99.0, 100, 7), Limit("a pass", "ms", 101.0, 100, 7)]
    assert bench.beyond(rows) == ["a pass took 101 ms, more than 100"]
