"""Progress for machines twice a second, and for people in a line."""

import io

import pytest

from cmac_core.events import Progress
from cmac_core.training import progress
from cmac_core.training.progress import ProgressMeter, line


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def told(meter: ProgressMeter, clock: Clock, steps: int, every: float, of: int = 100) -> list[Progress]:
    events = []
    for step in range(1, steps + 1):
        clock.now += every
        if event := meter.at("train", step, of, "clips", per_step=8):
            events.append(event)
    return events


def test_rate_and_time_left_follow_the_last_seconds(clock: Clock) -> None:
    meter = ProgressMeter(draw=False)
    told(meter, clock, 50, every=1.0)
    for step in range(51, 91):
        clock.now += 0.5
        event = meter.at("train", step, 100, "clips", per_step=8)
    assert event is not None
    assert event.rate == pytest.approx(16)
    assert event.eta_s == pytest.approx(5)


def test_events_come_twice_a_second_and_at_the_end(clock: Clock) -> None:
    events = told(ProgressMeter(draw=False), clock, 100, every=0.01)
    assert [event.step for event in events] == [1, 51, 100] or [event.step for event in events] == [1, 52, 100]


def test_a_new_phase_starts_anew(clock: Clock) -> None:
    meter = ProgressMeter(draw=False)
    told(meter, clock, 5, every=0.01)
    event = meter.at("plot", 0, 3)
    assert event is not None
    assert (event.phase, event.rate, event.eta_s) == ("plot", None, None)


def test_a_log_gets_a_line_every_few_seconds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", log)
    told(ProgressMeter(), clock, 100, every=0.2)
    lines = log.getvalue().splitlines()
    assert 4 <= len(lines) <= 6
    assert lines[-1] == "train 100/100 · 40 clips/s · 0:00:00 left"


def test_a_terminal_gets_a_bar() -> None:
    event = Progress(phase="train", step=50, of=100, unit="clips", rate=49.1, eta_s=3723.4)
    assert line(event, 4, "loss 1.5") == "train ━━╌╌ 50/100 · 49.1 clips/s · 1:02:03 left · loss 1.5"
