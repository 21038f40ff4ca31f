"""Means that stay on the device, the course of a run, and the learning rate."""

import math
from itertools import pairwise

import pytest
import torch

from cmac_core.training.meters import History, Meters
from cmac_core.training.schedule import Schedule


def test_skipped_steps_count_for_nothing() -> None:
    meters = Meters(torch.device("cpu"))
    for value, good in ((1.0, True), (math.nan, False), (3.0, True)):
        meters.add({"a": torch.tensor(value), "b": torch.tensor(2 * value)}, torch.tensor(good))
    assert meters.read() == {"a": 2.0, "b": 4.0}
    meters.reset()
    meters.add({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, torch.tensor(False))
    assert math.isnan(meters.read()["a"])


def test_meters_go_on_where_they_were() -> None:
    one, other = Meters(torch.device("cpu")), Meters(torch.device("cpu"))
    one.add({"a": torch.tensor(1.0)}, torch.tensor(True))
    other.restore(one.state())
    for meters in (one, other):
        meters.add({"a": torch.tensor(2.0)}, torch.tensor(True))
    assert one.read() == other.read() == {"a": 1.5}


def test_a_long_course_is_thinned_evenly() -> None:
    history = History(limit=10)
    for step in range(1, 101):
        history.add(step, {"loss": float(step)})
    steps = [step for step, _ in history.points]
    assert len(steps) < 10
    assert steps[0] == 1
    assert len({b - a for a, b in pairwise(steps)}) == 1
    again = History(limit=10)
    again.restore(history.state())
    again.add(101, {"loss": 0.0})
    history.add(101, {"loss": 0.0})
    assert again.points == history.points


def test_warm_up_is_linear_to_the_peak_and_then_constant() -> None:
    schedule = Schedule(peak=0.1, warmup_steps=4, total_steps=10)
    assert [schedule.at(step) for step in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_a_cosine_falls_to_nothing_after_the_warm_up() -> None:
    schedule = Schedule(peak=1.0, warmup_steps=2, total_steps=10, shape="cosine")
    assert [schedule.at(step) for step in (1, 2, 6)] == pytest.approx([1.0, 1.0, 0.5])
    assert 0 < schedule.at(9) < 0.05
    assert Schedule(peak=1.0, warmup_steps=0, total_steps=4).at(0) == 1.0


def test_a_multiplier_warms_up_from_the_rate_itself_as_gdts_does() -> None:
    """Its scheduler: base * ((multiplier - 1) * done / total + 1)."""
    schedule = Schedule(peak=0.08, warmup_steps=10, total_steps=20, start=0.01)
    assert [schedule.at(step) for step in (0, 4, 9, 10)] == pytest.approx(
        [0.01 * (7 * 0.1 + 1), 0.01 * (7 * 0.5 + 1), 0.08, 0.08]
    )


def test_steps_go_down_at_each_milestone() -> None:
    schedule = Schedule(peak=1.0, warmup_steps=2, total_steps=10, shape="step", milestones=(4, 8), gamma=0.1)
    assert [schedule.at(step) for step in range(10)] == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])
