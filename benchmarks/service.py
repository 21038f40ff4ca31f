"""The service when it is full: a pass of the scheduler, lists, a large experiment, metrics. Limits, not ratios."""

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from benchmarks.full_lab import CURVES, EVALUATION, FullLab, full_lab
from benchmarks.rounds import Growth, Limit
from cmac_core.events import Metrics
from store import database, fence, record, scheduler
from store.fence import Lease

QUEUED, FINISHED = 10_000, 100_000
PLACED = 150  # more than 256 GPUs have room for, so that what is queued later waits
POINTS, POINTS_QUICK, LONG = 10_000_000, 1_000_000, 1_000_000
GRID = {
    "kind": "experiment", "name": "grid", "base": EVALUATION, "seeds": list(range(100)),
    "grid": {"n_clips": list(range(1, 11))},
}  # fmt: skip


def measure(quick: bool) -> Iterator[Limit | Growth]:
    """Rows as they are found. The lab is filled meanwhile."""
    rounds = 15 if quick else 40
    with full_lab() as lab, lab.served() as http:
        lab.queue(PLACED)
        _settle()
        for queued in (QUEUED // 100, QUEUED // 10, QUEUED):
            lab.queue(queued)
            _settle()
            yield Growth(queued, 0, _median(_passes(lab, 7)), _p95(_lists(http, 40)))
        lab.finish(FINISHED)
        _settle()
        yield Growth(QUEUED, FINISHED, _median(_passes(lab, 7)), _p95(_lists(http, 40)))
        curve = lab.measure(POINTS_QUICK if quick else POINTS)
        long = lab.measure(LONG, LONG // CURVES)
        yield Limit("scheduler pass", "ms", _median(_passes(lab, rounds)), 100, rounds)
        turnover = _median(_passes(lab, rounds, before=lab.end_one))
        yield Limit("scheduler pass, a job ends, one starts", "ms", turnover, 100, rounds)
        lab.beat()
        with database.sessions.begin() as session:
            lease = lab.start(session)
        steps = itertools.count(0, 10)
        ingest = [_clock(lambda: _ingest(lease, steps)) / 1000 for _ in range(rounds)]
        yield Limit("1,000 metric points", "s", statistics.median(ingest), 0.2, rounds)
        with _busy(lab, lease, steps, http):
            yield Limit("GET /jobs, p95", "ms", _p95(_lists(http, 10 * rounds)), 100, 10 * rounds)
            reads = [_clock(lambda: _get(http, f"/jobs/{curve}/metrics?names=loss/1")) / 1000 for _ in range(rounds)]
            yield Limit("a curve of 10,000 points", "s", statistics.median(reads), 0.2, rounds)
            with lab.signed_in() as browser:
                pages = [_clock(lambda: _page(browser, "/ui/queue")) / 1000 for _ in range(rounds)]
            yield Limit("the queue as a page", "s", statistics.median(pages), 1.0, rounds)
            reads = [_clock(lambda: _get(http, f"/jobs/{long}/metrics?points=400")) / 1000 for _ in range(5)]
            yield Limit("curves of a million points", "s", statistics.median(reads), 1.0, 5)
        yield Limit("experiment of 1,000 jobs", "s", _clock(lambda: _submit(http)) / 1000, 10, 1)


def _passes(lab: FullLab, rounds: int, before: Callable[[], object] = lambda: None) -> Iterator[float]:
    """Milliseconds of passes, each with its transactions."""
    for _ in range(rounds):
        lab.beat()
        before()
        yield _clock(lambda: scheduler.run_pass("bench"))


def _settle() -> None:
    """Passes until the devices are given out and everybody has been told why not."""
    while scheduler.run_pass("bench").placed:
        pass


# What people look at: the newest, what runs, what waits first, their own, what failed of a kind, a name; one page more.
LISTS = (
    "/jobs",
    "/jobs?state=running&state=scheduled",
    "/jobs?state=queued&sort=priority",
    "/jobs?owner=user7",
    "/jobs?kind=retrieval&state=failed",
    "/jobs?state=succeeded&sort=-ended_at",
    "/jobs?label.experiment=none",
    "/jobs?name=none",
    "/jobs?count=true&limit=200",
)


def _lists(http: httpx2.Client, requests: int) -> list[float]:
    return [_clock(lambda: _get(http, path)) for path in itertools.islice(itertools.cycle(LISTS), requests)]  # noqa: B023


def _get(http: httpx2.Client, path: str) -> Any:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _page(browser: httpx2.Client, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text


def _submit(http: httpx2.Client) -> None:
    answer = http.post("/jobs", json=GRID)
    assert answer.status_code == 202, answer.text
    assert answer.json()["jobs"] == 1000


def _ingest(lease: Lease, steps: Iterator[int]) -> None:
    """What a supervisor does with 1,000 points: fence, read on, store."""
    first = next(steps)
    told = [
        Metrics(step=step, train_epoch=step / 1000, values={f"loss/{i}": 1 / (step + 1) for i in range(100)})
        for step in range(first, first + 10)
    ]
    with database.sessions.begin() as session:
        fence.beat(session, lease, first, first + 10)
        record.record(session, lease, told)


@contextmanager
def _busy(lab: FullLab, lease: Lease, steps: Iterator[int], http: httpx2.Client) -> Iterator[None]:
    """Meanwhile metrics arrive, the scheduler makes its passes, and somebody else looks at jobs, twice a second."""
    stop, failed = threading.Event(), list[BaseException]()

    def often(work: Callable[[], object], seconds: float) -> threading.Thread:
        def loop() -> None:
            try:
                while not stop.wait(seconds):
                    work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    threads = [
        often(lambda: _ingest(lease, steps), 0.5),
        often(lambda: list(_passes(lab, 1)), 1.0),
        often(lambda: _get(http, "/jobs?limit=200"), 0.5),
    ]
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _clock(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _median(times: Iterator[float]) -> float:
    return statistics.median(times)


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]
