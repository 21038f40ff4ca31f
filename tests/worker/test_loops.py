"""A loop outlives what its work meets."""

import json
import logging
import threading
import time

import pytest

from worker.logs import Lines, bound
from worker.loops import Loop


def run(loop: Loop, seconds: float) -> None:
    thread = threading.Thread(target=loop.run)
    thread.start()
    time.sleep(seconds)
    loop.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_work_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the database is away\nand more")

    run(Loop("test", work, pause=0.01), 1.0)
    assert len(calls) > 5
    assert "ConnectionError: the database is away" in caplog.text


def test_a_woken_loop_does_not_wait() -> None:
    calls: list[float] = []
    loop = Loop("test", lambda: calls.append(time.monotonic()), pause=30)
    thread = threading.Thread(target=loop.run)
    thread.start()
    time.sleep(0.1)
    loop.wake()
    time.sleep(0.1)
    loop.stop()
    thread.join(5)
    assert len(calls) == 2


def test_a_line_is_json_with_what_is_bound() -> None:
    record = logging.LogRecord("worker.x", logging.INFO, "f", 1, "claimed %s", ("it",), None)
    record.data = {"wait": 0.5}
    with bound(job="j", attempt="a"):
        line = json.loads(Lines().format(record))
    assert {**line, "at": ""} == {
        "at": "", "level": "info", "logger": "worker.x", "message": "claimed it",
        "job": "j", "attempt": "a", "wait": 0.5,
    }  # fmt: skip
    assert "job" not in json.loads(Lines().format(record))
