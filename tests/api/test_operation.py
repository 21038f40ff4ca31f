"""What an operator relies on: health, metrics, ids in the log, and a database that may go and come."""

import asyncio
import json
import logging
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, delete, event, func, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.__main__ import main
from api.app import make_app
from api.problem_kinds import PROBLEM_KINDS
from api.server import bind
from api.settings import ApiSettings
from store import database, embedded, leaders, migrate
from store import errors as store_errors
from store.settings import settings
from store.tables import Outbox, Root


def test_the_first_start_leaves_a_key_that_only_its_owner_can_read(lab: Any, house: Any) -> None:
    file = house.home / "admin.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert lab.http.get("/me").json()["role"] == "admin"


def test_without_loops_the_service_is_ready_and_says_what_is_missing(lab: Any) -> None:
    with lab.client(None) as http:
        assert http.get("/healthz").text == "ok\n"
        assert http.get("/readyz").json() == {"status": "degraded"}
    whole = lab.http.get("/readyz").json()
    assert any("scheduler" in trouble for trouble in whole["troubles"])
    assert whole["checks"]["database_s"] < 1


def test_with_loops_the_service_is_ready_until_messages_lie_about(lab: Any) -> None:
    with database.sessions.begin() as session:
        session.execute(delete(Outbox))  # of other tests, which nobody relays
        for name in (leaders.SCHEDULER, leaders.RECONCILER):
            assert leaders.lead(session, name, "test")
    assert lab.http.get("/readyz").json()["status"] == "ready"
    with database.sessions.begin() as session:
        session.add(Outbox(queue="node.x", payload={}, created_at=func.now() - timedelta(seconds=40)))
    whole = lab.http.get("/readyz").json()
    assert whole["status"] == "degraded"
    assert whole["troubles"] == ["1 messages have waited up to 40 s; is Redis there?"]


def test_prometheus_reads_figures_and_times_by_route(lab: Any) -> None:
    job = lab.submit()
    lab.http.get(f"/jobs/{job}")
    lab.succeed(lab.start(job))
    with lab.client(None) as http:
        text = http.get("/metrics").text
    lines = text.splitlines()
    assert any(line.startswith('cmac_jobs{kind="retrieval",state="succeeded"}') for line in lines)
    assert any(line.startswith('cmac_gpus{model="cpu",state="ok"}') for line in lines)
    assert any(line.startswith('cmac_attempts_total{reason="ok"}') for line in lines)
    assert "cmac_database_up 1.0" in lines
    for name in ("cmac_gpu_leases", "cmac_heartbeat_age_seconds", "cmac_outbox_pending", "cmac_streams"):
        assert any(line.startswith(f"{name} ") for line in lines), name
    counted = 'cmac_http_request_seconds_count{method="GET",route="/jobs/{job_id}",status="200"}'
    assert any(line.startswith(counted) for line in lines)
    assert job not in text


def test_prometheus_from_elsewhere_needs_a_key(lab: Any) -> None:
    with TestClient(make_app(ApiSettings()), client=("192.0.2.1", 1)) as http:
        assert http.get("/metrics").status_code == 401
        assert http.get("/metrics", headers={"Authorization": lab.http.headers["authorization"]}).status_code == 200


def test_the_request_s_id_is_kept_or_made_and_stands_in_the_log(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "api.access"):
        assert lab.http.get("/me?x=1", headers={"X-Request-ID": "mine-1"}).json()["request_id"] == "mine-1"
        made = lab.http.get("/me", headers={"X-Request-ID": "not fit\tto log"}).headers["x-request-id"]
        end = time.monotonic() + 5
        while len(caplog.records) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    lines = [json.loads(record.message) for record in caplog.records if record.name == "api.access"]
    assert [line["request_id"] for line in lines] == ["mine-1", made]
    assert (lines[1]["method"], lines[1]["route"], lines[1]["status"], lines[1]["principal"]) == (
        "GET", "/me", 200, "admin",
    )  # fmt: skip
    assert not any("cmac_" in record.message for record in caplog.records)


def test_an_error_of_our_own_shows_its_id_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    app: FastAPI = make_app(ApiSettings())

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("the password is 1234")

    with TestClient(app) as http:
        answer = http.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "1234" not in answer.text
    assert "ZeroDivisionError: the password is 1234" in caplog.text


def test_a_commit_that_fails_is_never_answered_as_done(lab: Any, project: str, tmp_path: Any) -> None:
    def fail(session: Session) -> None:
        if session.scalar(select(Root.id).where(Root.name == project)):
            raise store_errors.Unavailable("the commit was lost")

    event.listen(database.sessions, "before_commit", fail)
    try:
        answer = lab.http.post("/roots", json={"name": project, "path": str(tmp_path)})
    finally:
        event.remove(database.sessions, "before_commit", fail)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert project not in [row["name"] for row in lab.http.get("/roots", params={"limit": 200}).json()["items"]]


def test_paths_and_methods_that_there_are_not_are_problems_too(lab: Any) -> None:
    nowhere = lab.http.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    wrong = lab.http.put("/jobs")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, POST"
    no_id = lab.http.get("/jobs/0b0e")
    assert (no_id.status_code, no_id.json()["code"]) == (404, "not_found")
    assert "0b0e" in no_id.json()["detail"]


def test_every_code_has_a_page_that_explains_it(lab: Any) -> None:
    for code in PROBLEM_KINDS:
        page = lab.http.get(f"/problems/{code}", headers={"Accept": "text/html"})
        assert (page.status_code, code in page.text) == (200, True)
    assert lab.http.get("/problems/none").status_code == 404


def test_every_error_of_the_store_has_a_status() -> None:
    kinds = [kind for kind in vars(store_errors).values() if isinstance(kind, type)]
    problems = [kind for kind in kinds if issubclass(kind, store_errors.Problem)]
    assert {kind.code for kind in problems} <= set(PROBLEM_KINDS)


def test_the_api_describes_itself_with_every_field_of_a_spec(lab: Any) -> None:
    described = lab.http.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    body = described["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("JobSpec", "Experiment")]}
    schemas = described["components"]["schemas"]
    assert "lambda_ac" in schemas["Loss"]["properties"]
    assert "recipe" in schemas["Experiment"]["properties"]
    references = {part.split('"')[0] for part in json.dumps(described).split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    assert "HTTPValidationError" not in references


def test_the_pages_fetch_nothing_from_elsewhere(lab: Any) -> None:
    for path in ("/", "/docs", "/problems"):
        text = lab.http.get(path, headers={"Accept": "text/html"}).text
        assert re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?(?:\w+:)?//""", text) == []
        assert "<script" not in text
    assert "/jobs/{job_id}" in lab.http.get("/docs").text
    assert lab.http.get("/").json()["links"]["docs"] == "/docs"


def test_while_the_database_is_away_the_service_says_so_and_comes_back_by_itself(lab: Any, house: Any) -> None:
    job = lab.submit()
    found: list[str] = []

    def read() -> None:
        with lab.http.stream("GET", f"/jobs/{job}/events/stream") as answer:
            found.extend(line for line in answer.iter_lines() if line.startswith("event:"))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    embedded.stop_postgres(settings())
    try:
        answer = lab.http.get(f"/jobs/{job}")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert lab.http.get("/readyz").status_code == 503
        assert (
            "away" in lab.http.get("/readyz").json()["detail"] or "answer" in lab.http.get("/readyz").json()["detail"]
        )
        with lab.client(None) as http:
            assert http.get("/healthz").status_code == 200
            assert "cmac_database_up 0.0" in http.get("/metrics").text
    finally:
        embedded.start_postgres(settings(), durable=False)
    assert lab.http.get(f"/jobs/{job}").status_code == 200
    assert lab.http.post(f"/jobs/{job}/cancel").status_code == 202
    reader.join(15)  # the stream has waited, and sees the end
    assert found[-1] == "event: end"


def test_the_service_waits_for_the_first_migration_and_then_makes_the_first_key(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with house.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE bare"))
    bare = create_engine(house.engine.url.set(database="bare"))
    monkeypatch.setattr(database, "engine", lambda: bare)
    monkeypatch.setattr("api.app._FIRST_LOOK_S", 0.1)
    monkeypatch.setenv("CMAC_HOME", str(tmp_path))
    settings.cache_clear()
    with caplog.at_level(logging.INFO), TestClient(make_app(announce_key=True)) as http:
        ready = http.get("/readyz")
        assert (ready.status_code, "store.migrate" in ready.json()["detail"]) == (503, True)
        answer = http.get("/me", headers={"Authorization": "Bearer cmac_000000000000_" + "a" * 43})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        migrate.upgrade(bare)
        assert http.get("/readyz").status_code == 200
        end = time.monotonic() + 10
        while not (tmp_path / "admin.key").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.1)
        key = (tmp_path / "admin.key").read_text().strip()
        assert http.get("/me", headers={"Authorization": f"Bearer {key}"}).json()["role"] == "admin"
    assert caplog.text.count(key) == 1  # it was asked to say it, once
    bare.dispose()


def test_the_program_takes_a_free_port_says_where_and_stops_when_asked(
    lab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, "-m", "api", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        while "listening on " not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        url = said.partition("listening on ")[2].strip()
        assert httpx2.get(f"{url}/healthz", trust_env=False, timeout=20).status_code == 200
        port = url.rpartition(":")[2]
        assert main(["--port", port, "--check"]) == 0
        assert main(["--port", port]) == 2
        assert "is it running already?" in caplog.text
        with lab.http.stream("GET", f"{url}/jobs/{lab.submit()}/events/stream") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "retry: 3000"
            process.terminate()
            asked = time.monotonic()
            assert list(lines)  # it ends in order: the client connects to whoever comes next
        assert process.wait(20) == 0
        assert time.monotonic() - asked < 8
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert main(["--port", port, "--check"]) == 1


def test_small_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm is off on the connections of the socket that the API listens on."""

    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Look(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                found.set_result(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                transport.close()

        listening = bind(ApiSettings(host="127.0.0.1", port=0))
        async with await asyncio.get_running_loop().create_server(Look, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return await asyncio.wait_for(found, 10)
            finally:
                writer.close()

    assert asyncio.run(accepted())
