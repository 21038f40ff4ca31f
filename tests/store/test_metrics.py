"""Thinning keeps what a person would miss."""

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from store import metrics
from store.metrics import Point, thin
from tests.store.lab import Lab


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=300), st.integers(3, 60))
def test_thinning_keeps_extremes_ends_and_order(values: list[float | None], points: int) -> None:
    curve = thin(range(len(values)), values, points)
    assert len(curve["x"]) <= max(points, 3)
    assert curve["x"] == sorted(set(curve["x"]))
    assert curve["non_finite"] == values.count(None)
    finite = [value for value in values if value is not None]
    if finite:
        assert min(low for low in curve["min"] if low is not None) == min(finite)
        assert max(high for high in curve["max"] if high is not None) == max(finite)
    if values:
        assert (curve["x"][0], curve["y"][0]) == (0, values[0])
        assert (curve["x"][-1], curve["y"][-1]) == (len(values) - 1, values[-1])


def test_a_short_curve_and_a_wish_for_all_are_not_thinned() -> None:
    whole: dict[str, Any] = thin(range(5), [1.0] * 5, 500)
    assert (whole["thinned"], whole["x"]) == (False, [0, 1, 2, 3, 4])
    assert thin(range(1000), [1.0] * 1000, 0)["thinned"] is False
    assert thin(range(1000), [1.0] * 1000, 10)["thinned"] is True


def test_a_thousand_points_go_in_at_once(lab: Lab) -> None:
    job = lab.submit()
    began = time.perf_counter()
    metrics.add(lab.session, job.id, 1, [Point("loss", step, 1.0 / (step + 1), step / 10) for step in range(1000)])
    assert time.perf_counter() - began < 1.0
    metrics.add(lab.session, job.id, 1, [Point("loss", 5, 7.0, None), Point("loss", 5, 8.0, None)])
    (curve,) = metrics.series(lab.session, job.id, ["loss"], points=0, from_step=5, x="train_epoch")
    assert len(curve["x"]) == 995
    assert (curve["x"][0], curve["y"][0]) == (None, 8.0)
    assert metrics.series(lab.session, job.id, ["nothing"]) == [
        {"name": "nothing", "x": [], "y": [], "min": [], "max": [], "thinned": False, "non_finite": 0}
    ]
    assert "T" in metrics.series(lab.session, job.id, x="time")[0]["x"][0]
