"""Retries, keys and resuming, against a small real HTTP server that fails on purpose."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from client import connection as connection_module
from client.connection import Connection
from client.downloads import download, fetch
from client.errors import (
    ApiError,
    BadDownload,
    Forbidden,
    Internal,
    InvalidSpec,
    NotFound,
    RateLimited,
    ServiceAway,
    Unauthenticated,
)
from client.streams import follow

Answer = tuple[int, dict[str, str], bytes]
Script = Callable[[BaseHTTPRequestHandler, int], Answer | None]


class Server:
    """Answers the n-th request with script(request, n); None drops the connection without an answer."""

    def __init__(self, script: Script) -> None:
        self.seen: list[BaseHTTPRequestHandler] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                outer.seen.append(self)
                answer = script(self, len(outer.seen) - 1)
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(script: Script) -> Iterator[tuple[Server, Connection]]:
    server = Server(script)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    connection = Connection(server.url, "cmac_k_secret")
    try:
        yield server, connection
    finally:
        connection.close()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(connection_module.time, "sleep", slept.append)
    return slept


def body(value: object, status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def problem(status: int, code: str, **members: object) -> Answer:
    return body({"status": status, "code": code, "title": code, "request_id": "r1", **members}, status)


def test_a_post_keeps_its_key_over_retries() -> None:
    answers = [body({}), None, problem(503, "unavailable"), body({"id": 1}, 202)]
    with serving(lambda request, n: answers[n]) as (server, connection):
        connection.get("/healthz")
        assert connection.post("/jobs", {"kind": "pack"}).json() == {"id": 1}
        keys = [request.headers["Idempotency-Key"] for request in server.seen[1:]]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) == 36


def test_two_posts_have_two_keys() -> None:
    with serving(lambda request, n: body({})) as (server, connection):
        connection.post("/jobs", {})
        connection.post("/jobs", {})
        first, second = (request.headers["Idempotency-Key"] for request in server.seen)
    assert first != second


def test_retry_after_is_obeyed(short_pauses: list[float]) -> None:
    answers = [body({"code": "rate_limited"}, 429, **{"Retry-After": "7"}), body({})]
    with serving(lambda request, n: answers[n]) as (_, connection):
        connection.get("/jobs")
    assert short_pauses == [7.0]


def test_a_download_that_came_too_often_waits_and_goes_on(short_pauses: list[float]) -> None:
    answers: list[Answer] = [body({"code": "rate_limited"}, 429, **{"Retry-After": "3"}), (200, {}, b"map")]
    with serving(lambda request, n: answers[n]) as (_, connection), connection.stream("/artifacts/1") as response:
        assert response.read() == b"map"
    assert short_pauses == [3.0]


def test_after_five_retries_the_last_problem_is_raised(short_pauses: list[float]) -> None:
    with serving(lambda request, n: problem(429, "rate_limited")) as (server, connection):
        with pytest.raises(RateLimited):
            connection.get("/jobs")
        assert len(server.seen) == 6
    assert sorted(short_pauses) == short_pauses


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, "invalid_spec", InvalidSpec),
        (401, "unauthenticated", Unauthenticated),
        (403, "forbidden", Forbidden),
        (404, "not_found", NotFound),
        (500, "internal", Internal),
        (502, "some_proxy", Internal),
        (418, "of_tomorrow", ApiError),
    ],
)
def test_each_code_has_its_class_and_is_not_retried(status: int, code: str, kind: type[ApiError]) -> None:
    with serving(lambda request, n: problem(status, code, detail="so it is")) as (server, connection):
        with pytest.raises(kind) as caught:
            connection.post("/jobs", {})
        assert len(server.seen) == 1
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, code, "r1")
    assert str(caught.value).startswith("so it is")


def test_the_message_names_every_field_and_hint() -> None:
    errors = [
        {"pointer": "/optim/lr", "message": "must be > 0", "got": -0.1},
        {"pointer": "/temprature", "message": "no such field", "hint": "did you mean temperature?"},
    ]
    with (
        serving(lambda request, n: problem(422, "invalid_spec", errors=errors, limit=3)) as (_, connection),
        pytest.raises(InvalidSpec) as caught,
    ):
        connection.post("/jobs", {})
    assert str(caught.value).splitlines() == [
        "invalid_spec",
        "  /optim/lr: must be > 0 (got -0.1)",
        "  /temprature: no such field",
        "    hint: did you mean temperature?",
        "  limit: 3",
    ]
    assert caught.value.errors[0].pointer == "/optim/lr"


def test_a_service_that_never_answered_is_not_waited_for(short_pauses: list[float]) -> None:
    with serving(lambda request, n: body({})) as (server, _):
        url = server.url
    with pytest.raises(ServiceAway, match="start it with `cmac up`"):
        Connection(url, None).get("/jobs")
    assert short_pauses == []


def test_in_a_folder_with_a_service_of_its_own_its_home_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_pauses: list[float]
) -> None:
    (tmp_path / ".cmac").mkdir()
    (tmp_path / ".cmac/api.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CMAC_HOME", raising=False)
    with serving(lambda request, n: body({})) as (server, _):
        monkeypatch.setattr(connection_module, "DEFAULT_URL", server.url)
    with pytest.raises(ServiceAway, match=f"`export CMAC_HOME={tmp_path}/.cmac`"):
        Connection(server.url, None).get("/jobs")


def test_something_else_on_the_port_is_not_taken_for_the_service() -> None:
    with (
        serving(lambda request, n: (404, {}, b"<html>nginx</html>")) as (_, connection),
        pytest.raises(ApiError, match="not in the service's form"),
    ):
        connection.get("/jobs")


def sse(*events: tuple[str, str, object]) -> Answer:
    text = "retry: 3000\n\n"
    for event_id, kind, data in events:
        text += (
            f"id: {event_id}\n" if event_id else ""
        ) + f"event: {kind}\ndata: {json.dumps(data)}\n\n: still here\n\n"
    return 200, {"Content-Type": "text/event-stream"}, text.encode()


def test_a_broken_stream_goes_on_behind_the_last_event() -> None:
    answers: list[Answer | None] = [
        sse(("1", "state", "queued"), ("2", "state", "running"), ("", "progress", {"step": 5})),
        None,
        problem(503, "unavailable"),
        sse(("3", "checkpoint", {}), ("4", "end", {})),
    ]
    with serving(lambda request, n: answers[n]) as (server, connection):
        events = list(follow(connection, "/jobs/1/events/stream"))
        asked = [request.headers["Last-Event-ID"] for request in server.seen]
    assert [(event.id, event.type) for event in events] == [
        ("1", "state"),
        ("2", "state"),
        ("", "progress"),
        ("3", "checkpoint"),
        ("4", "end"),
    ]
    assert asked == [None, "2", "2", "2"]


def test_no_content_ends_a_stream() -> None:
    with serving(lambda request, n: (204, {}, b"")) as (_, connection):
        assert list(follow(connection, "/jobs/1/events/stream", last_id="9")) == []


def test_a_stream_of_nobody_ends_with_the_problem() -> None:
    with (
        serving(lambda request, n: problem(404, "not_found")) as (_, connection),
        pytest.raises(NotFound),
    ):
        list(follow(connection, "/jobs/1/events/stream"))


def test_a_download_is_kept_only_when_its_hash_is_right(tmp_path: Path) -> None:
    right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    with serving(lambda request, n: (200, {}, b"hello")) as (_, connection):
        assert fetch(connection, f"/artifacts/{right}") == b"hello"
        assert download(connection, f"/artifacts/{right}", right, tmp_path / "a" / "x.png").read_bytes() == b"hello"
        with pytest.raises(BadDownload):
            download(connection, "/artifacts/" + "0" * 64, None, tmp_path / "y.png")
        with pytest.raises(BadDownload):
            fetch(connection, "/artifacts/" + "0" * 64)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.png"]
