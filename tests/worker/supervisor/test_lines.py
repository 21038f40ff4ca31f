"""events.jsonl is read once, whole lines alone, whatever stands in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmac_core.events import EVENTS_FILE, Ended, EventLog, Metrics, Progress, Warned
from worker.supervisor import lines
from worker.supervisor.lines import read_portion, words

Open = Callable[[Path], EventLog]


@pytest.fixture
def event_log() -> Iterator[Open]:
    logs: list[EventLog] = []

    def open_log(folder: Path) -> EventLog:
        logs.append(EventLog(folder))
        return logs[-1]

    yield open_log
    for log in logs:
        log._file.close()


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert read_portion(tmp_path, 0) == ([], 0)
    assert words(tmp_path) == (False, None)


def test_what_was_read_is_not_read_again(tmp_path: Path, event_log: Open) -> None:
    log = event_log(tmp_path)
    log.write(Metrics(step=1, values={"loss": 2.0}))
    first = read_portion(tmp_path, 0)
    log.write(Metrics(step=2, values={"loss": 1.0}))
    assert [event.step for event in read_portion(tmp_path, first.offset).events] == [2]  # type: ignore[union-attr]


def test_half_a_line_is_no_line_yet(tmp_path: Path) -> None:
    line = Progress(phase="train", step=1, of=2).model_dump_json().encode()
    (tmp_path / EVENTS_FILE).write_bytes(line[:20])
    assert read_portion(tmp_path, 0) == ([], 0)
    (tmp_path / EVENTS_FILE).write_bytes(line + b"\n")
    assert len(read_portion(tmp_path, 0).events) == 1


def test_a_broken_line_is_a_warning_and_no_obstacle(tmp_path: Path) -> None:
    good = Ended(outcome="finished").model_dump_json()
    (tmp_path / EVENTS_FILE).write_text('{"type": "metr{"type": "x"}\n' + good + "\n")
    events = read_portion(tmp_path, 0).events
    assert isinstance(events[0], Warned)
    assert events[0].code == "broken_event"
    assert words(tmp_path).ended == Ended(outcome="finished")


def test_a_long_file_comes_in_portions_and_loses_nothing(
    tmp_path: Path, event_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PORTION", 100)
    log = event_log(tmp_path)
    for step in range(50):
        log.write(Metrics(step=step, values={"loss": 1.0}))
    log.write(Metrics(step=50, values={f"a_long_line_{number}": 1.0 for number in range(30)}))
    log.write(Ended(outcome="left"))
    steps, offset = [], 0
    while (portion := read_portion(tmp_path, offset)).events:
        assert portion.offset - offset < 1500
        steps += [event.step for event in portion.events if isinstance(event, Metrics)]
        offset = portion.offset
    assert steps == list(range(51))
    assert words(tmp_path).ended == Ended(outcome="left")
