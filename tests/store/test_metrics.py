"""Thinning keeps what a person would miss."""

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, text

from store import metrics
from store.metrics import Point, thin
from store.tables import Attempt, Metric
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


def test_the_database_thins_long_curves_as_this_process_would(lab: Lab) -> None:
    """Extremes, ends and counts are the same; a later epoch's points count from where it went on."""
    job = lab.submit()
    lease = lab.run(job)
    lab.session.execute(
        text(
            "INSERT INTO metrics (job_id, epoch, name, step, value, train_epoch) SELECT :job, 1, name, i, "
            "CASE WHEN i = 777 THEN -9 WHEN i = 6001 THEN 99 WHEN i % 1000 = 3 THEN NULL ELSE sin(i) END, i / 100.0 "
            "FROM generate_series(1, 12000) AS i, unnest(ARRAY['a', 'b']) AS name"
        ),
        {"job": job.id},
    )
    metrics.add(lab.session, job.id, 1, [Point("short", 5, 1.0, None)])
    many = metrics.series(lab.session, job.id, points=100)
    few = metrics.series(lab.session, job.id, ["a", "short"], points=100)  # read one by one
    assert [curve["name"] for curve in many] == ["a", "b", "short"]
    thinned, plain = many[0], few[0]
    for curve in (thinned, plain):
        assert (curve["thinned"], curve["non_finite"], len(curve["x"])) == (True, 12, 100)
        assert (curve["x"][0], curve["x"][-1]) == (1, 12_000)
        assert (min(curve["min"]), max(curve["max"])) == (-9, 99)
        assert curve["x"] == sorted(set(curve["x"]))
    assert many[2] == few[1]
    assert metrics.series(lab.session, job.id, points=100, x="train_epoch")[0]["x"][-1] == 120
    lab.session.execute(delete(Metric).where(Metric.name == "short"))
    for since in (0, 50):  # curves that begin and end together, told of or not, of which an earlier one is over
        metrics.add(lab.session, job.id, 1, [Point("over", 10, 7.0, None)])
        whole = metrics.series(lab.session, job.id, points=100, from_step=since)
        assert whole[:2] == metrics.series(lab.session, job.id, ["a", "b"], points=100, from_step=since)
        lab.session.execute(delete(Metric).where(Metric.name == "over"))
        assert whole[:2] == metrics.series(lab.session, job.id, points=100, from_step=since)
    attempt = lab.session.get_one(Attempt, lease.attempt)
    lab.session.add(Attempt(job_id=job.id, epoch=2, state="exited", running_at=attempt.running_at, resume_step=6000))
    lab.session.flush()
    metrics.add(lab.session, job.id, 2, [Point("a", step, 5.0, None) for step in range(6001, 6101)])
    grown = metrics.series(lab.session, job.id, points=100)[0]
    assert (grown["x"][-1], grown["y"][-1]) == (6100, 5.0)
    assert max(grown["max"]) == 5.0  # the spike at 6001 was of what is not gone on from
    whole = metrics.series(lab.session, job.id, ["a"], points=0)[0]
    assert (whole["x"], whole["y"][5999:6001]) == (list(range(1, 6101)), [pytest.approx(math.sin(6000)), 5.0])
