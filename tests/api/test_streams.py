"""Live streams: nothing lost, nothing twice, also when the connection breaks."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import delete, func, update

from api.settings import ApiSettings
from cmac_core.events import Metrics, Progress, Warned
from store import database, retention
from store.tables import Job, Part


class Event(NamedTuple):
    id: str
    type: str
    data: Any


def events(answer: httpx2.Response) -> Iterator[Event]:
    """Events by the letter of the standard: blocks of `name: value` lines, comments left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "data" in fields:
                yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


def follow(lab: Any, path: str, last: str | None = None, most: int = 10**6) -> list[Event]:
    """The first events of a stream, at most so many, then hang up."""
    found: list[Event] = []
    headers = {"Last-Event-ID": last} if last is not None else {}
    with lab.http.stream("GET", path, headers=headers) as answer:
        if answer.status_code == 204:
            return found
        assert answer.status_code == 200, answer.read()
        for event in events(answer):
            found.append(event)
            if len(found) == most or event.type == "end":
                break
    return found


@pytest.fixture
def in_background() -> Iterator[Callable[..., None]]:
    """Do something while a stream is being read."""
    threads: list[threading.Thread] = []

    def start(work: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(10)


def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(lab: Any, in_background: Any) -> None:
    job = lab.submit()

    def run() -> None:
        time.sleep(0.2)
        lease = lab.start(job)
        lab.tell(lease, Progress(phase="train", step=1, of=2))
        lab.tell(lease, Warned(code="slow", message="the loader is slow"))
        lab.succeed(lease)

    in_background(run)
    found = follow(lab, f"/jobs/{job}/events/stream")
    kept = [event for event in found if event.id]
    history = lab.http.get(f"/jobs/{job}/events").json()["items"]
    assert [event.data for event in kept] == history
    assert [event.id for event in kept] == [str(event["seq"]) for event in history]
    assert found[-1].type == "end"
    assert found[-1].data["data"]["state"] == "succeeded"


def test_a_reader_that_hangs_up_after_every_event_sees_each_once(lab: Any, in_background: Any) -> None:
    job = lab.submit()

    def run() -> None:
        lease = lab.start(job)
        for number in range(20):
            lab.tell(lease, Warned(code="w", message=str(number)))
        lab.succeed(lease)

    in_background(run)
    seen: list[Event] = []
    while more := follow(lab, f"/jobs/{job}/events/stream", seen[-1].id if seen else None, most=1):
        seen += [event for event in more if event.id]
    assert [event.data for event in seen] == lab.http.get(f"/jobs/{job}/events?limit=200").json()["items"]
    assert [event.data["data"]["message"] for event in seen if event.type == "warning"] == [str(n) for n in range(20)]


def test_after_the_end_a_reconnect_is_told_to_stop(lab: Any) -> None:
    job = lab.submit()
    lab.http.post(f"/jobs/{job}/cancel")
    last = follow(lab, f"/jobs/{job}/events/stream")[-1]
    assert last.type == "end"
    answer = lab.http.get(f"/jobs/{job}/events/stream", headers={"Last-Event-ID": last.id})
    assert answer.status_code == 204
    assert lab.http.get(f"/jobs/{job}/events/stream", params={"after": last.id}).status_code == 204


@pytest.mark.parametrize("last", ["x", "1.2", "-1", "99999", "٣", "9" * 30])
def test_a_place_that_there_is_not_is_refused(lab: Any, last: str) -> None:
    answer = lab.http.get(f"/jobs/{lab.submit()}/events/stream", params={"after": last})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_change_wakes_its_stream_at_once(lab: Any, serve: Callable[[ApiSettings], Any], in_background: Any) -> None:
    running = serve(ApiSettings(stream_comment_s=60, stream_poll_s=60))  # nothing but a notice helps
    end = time.monotonic() + 5
    while not running.app.state.streams.wakeups.connected and time.monotonic() < end:
        time.sleep(0.01)
    job = lab.submit()
    with lab.http.stream("GET", f"{running.url}/jobs/{job}/events/stream") as answer:
        found = events(answer)
        assert next(found).type == "state"
        asked = time.monotonic()
        in_background(lambda: lab.http.post(f"/jobs/{job}/cancel"))
        assert next(found).type == "end"
        assert time.monotonic() - asked < 5


def test_waiting_and_progress_are_live_only(lab: Any) -> None:
    parent = lab.submit()
    child = lab.submit(queue={"after": [{"job": parent}]})
    found = follow(lab, f"/jobs/{child}/events/stream", most=2)
    assert [(event.type, event.id) for event in found] == [("state", "1"), ("waiting", "")]
    assert parent in found[1].data["text"]


def test_a_silent_stream_says_that_it_lives(lab: Any) -> None:
    job = lab.submit()
    with lab.http.stream("GET", f"/jobs/{job}/events/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        assert any(line.startswith(":") for line in lines)


def test_points_come_once_each_though_the_connection_breaks(lab: Any, in_background: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)

    def run() -> None:
        for step in range(0, 50, 10):
            lab.tell(lease, Metrics(step=step, train_epoch=step / 100, values={"loss": 1.0 / (step + 1)}))
        lab.tell(lease, Metrics(step=40, values={"r@1": 0.5}))  # the monitor reports a step that is known already
        lab.succeed(lease)

    in_background(run)
    seen: list[Event] = []
    while more := follow(lab, f"/jobs/{job}/metrics/stream", seen[-1].id if seen else None, most=1):
        seen += [event for event in more if event.type == "points"]
        if more[-1].type == "end":
            break
    values = [(event.data["step"], name) for event in seen for name in event.data["values"]]
    assert sorted(set(values)) == [(0, "loss"), (10, "loss"), (20, "loss"), (30, "loss"), (40, "loss"), (40, "r@1")]
    assert seen[0].id.startswith("1.0")
    # Hanging up within a step may show it again as a whole, never less.
    assert len(values) - len(set(values)) <= 1
    assert lab.http.get(f"/jobs/{job}/metrics/stream", params={"after": seen[-1].id}).status_code == 204


def test_a_living_stream_sends_later_values_of_a_step_alone(lab: Any, in_background: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, Metrics(step=1, values={"loss": 1.0}))

    def run() -> None:
        time.sleep(0.5)
        lab.tell(lease, Metrics(step=1, values={"r@1": 0.5}))
        lab.succeed(lease)

    in_background(run)
    found = follow(lab, f"/jobs/{job}/metrics/stream")
    assert [event.data["values"] for event in found[:-1]] == [{"loss": 1.0}, {"r@1": 0.5}]
    only = follow(lab, f"/jobs/{job}/metrics/stream?names=r@1,other")
    assert [event.data["values"] for event in only[:-1]] == [{"r@1": 0.5}]


def test_a_log_is_followed_to_its_end_byte_by_byte(lab: Any, in_background: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    log = lab.folder(job) / "log.txt"

    def run() -> None:
        with log.open("ab", buffering=0) as file:
            for number in range(30):
                file.write(b"line %d\nhalf a " % number)
                time.sleep(0.01)
                file.write("line ä\n".encode())
        lab.succeed(lease)

    in_background(run)
    seen: list[Event] = []
    while more := follow(lab, f"/jobs/{job}/logs/stream", seen[-1].id if seen else None, most=2):
        seen += [event for event in more if event.id]
        if more[-1].type == "end":
            break
    assert "".join(event.data["text"] for event in seen if event.type == "log") == log.read_text()
    assert seen[0] == Event("1.0", "attempt", {"epoch": 1})
    assert lab.http.get(f"/jobs/{job}/logs/stream", params={"after": seen[-1].id}).status_code == 204


def test_log_pages_say_where_to_go_on(lab: Any) -> None:
    job = lab.submit()
    empty = lab.http.get(f"/jobs/{job}/logs")
    assert (empty.text, empty.headers["x-log-size"], "x-epoch" in empty.headers) == ("", "0", False)
    lease = lab.start(job)
    (lab.folder(job) / "log.txt").write_bytes(b"one\ntwo\n 1%\r 2%\r\nhalf")
    page = lab.http.get(f"/jobs/{job}/logs", params={"limit": 5})
    assert (page.text, page.headers["x-next-offset"], page.headers["x-epoch"]) == ("one\n", "4", "1")
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    rest = lab.http.get(f"/jobs/{job}/logs", params={"offset": 4})
    assert rest.text == "two\n 2%\n"
    assert lab.http.get(f"/jobs/{job}/logs", params={"tail": 1}).text == " 2%\n"
    part = lab.http.get(f"/jobs/{job}/logs", headers={"Range": "bytes=4-6"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"two", "bytes 4-6/21")
    assert lab.http.get(f"/jobs/{job}/logs", headers={"Range": "bytes=99-"}).json()["size"] == 21
    assert lab.http.get(f"/jobs/{job}/logs", params={"limit": 1 << 21}).status_code == 400
    lab.succeed(lease)
    assert lab.http.get(f"/jobs/{job}/logs", params={"tail": 1}).text == "half"


def test_each_machine_of_a_job_has_a_log_of_its_own(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start_on_two(job)
    default, other = (lab.http.get(f"/jobs/{job}/logs", params=which) for which in ({}, {"part": 1}))
    assert [(one.text, one.headers["x-parts"]) for one in (default, other)] == [("first\n", "2"), ("second\n", "2")]
    refused = lab.http.get(f"/jobs/{job}/logs", params={"part": 2})
    assert (refused.status_code, refused.json()["allowed"]) == (400, ["0", "1"])
    assert "parts 0 to 1" in refused.json()["detail"]
    with database.sessions.begin() as session:
        session.execute(delete(Part).where(Part.attempt_id == lease.attempt, Part.part == 1))
    lab.succeed(lease)
    texts = [event.data["text"] for event in follow(lab, f"/jobs/{job}/logs/stream?part=1") if event.type == "log"]
    assert texts == ["second\n"]


def test_logs_that_retention_removed_are_gone_and_say_since_when(lab: Any) -> None:
    job = lab.submit()
    lab.succeed(lab.start(job))
    (lab.folder(job) / "log.txt").write_text("said\n")
    with database.sessions.begin() as session:
        long_ago = func.now() - timedelta(days=91)
        session.execute(update(Job).where(Job.id == uuid.UUID(job)).values(ended_at=long_ago))
    assert retention.run_pass()["logs"] == 1
    row = lab.http.get(f"/jobs/{job}").json()
    for path in ("logs", "logs/stream"):
        gone = lab.http.get(f"/jobs/{job}/{path}")
        assert (gone.status_code, gone.json()["code"]) == (410, "gone")
        assert gone.json()["removed_at"][:19] == row["logs_removed_at"][:19]
    assert row["curves_thinned_at"]
    assert row["events_removed_at"]
    assert [event.type for event in follow(lab, f"/jobs/{job}/events/stream")] == ["end"]
    assert lab.http.get(f"/results/{job}").json()["values"][0]["value"] == 57.9


def test_streams_are_limited_for_each_key(lab: Any, serve: Callable[[ApiSettings], Any]) -> None:
    running = serve(ApiSettings(streams_per_key=2, streams=3, stream_comment_s=0.2))
    job = lab.submit()
    path = f"/jobs/{job}/events/stream"
    with lab.client(lab.key("viewer")) as mine, lab.client(lab.key("viewer")) as other:
        mine.base_url = other.base_url = running.url
        with mine.stream("GET", path) as one, mine.stream("GET", path) as two:
            opened = [one.iter_bytes(), two.iter_bytes()]
            assert all(b"retry" in next(reader) for reader in opened)
            third = mine.get(path)
            assert (third.status_code, third.json()["code"], third.json()["limit"]) == (429, "too_many_streams", 2)
            assert third.headers["retry-after"]
            with other.stream("GET", path) as more:
                opened.append(more.iter_bytes())
                next(opened[-1])
                assert other.get(path).json()["limit"] == 3
        end = time.monotonic() + 5
        while running.app.state.streams.slots.open and time.monotonic() < end:
            time.sleep(0.02)
        assert running.app.state.streams.slots.open == 0  # who hangs up gives the place back


def test_streams_hold_no_connection_of_the_database(lab: Any, house: Any) -> None:
    job = lab.submit()
    before = house.engine.pool.checkedout()
    with lab.http.stream("GET", f"/jobs/{job}/events/stream") as answer:
        reader = answer.iter_bytes()
        next(reader)
        time.sleep(0.1)
        assert house.engine.pool.checkedout() == before
