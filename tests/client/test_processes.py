"""Processes that outlive their command: found again, told from strangers, stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.errors import BadInput
from client.local import _port
from client.processes import Daemon, gone, is_alive, marked, ranks, started_at

SLEEPER = "import signal, time\n{}\nprint('here', flush=True)\ntime.sleep(60)\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sleeper.py").write_text(SLEEPER.format(""))
    (modules / "stubborn.py").write_text(SLEEPER.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    monkeypatch.setenv("PYTHONPATH", str(modules))
    return tmp_path


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    made = Daemon(home, "part")
    yield made
    made.stop(0.0)


def said(daemon: Daemon, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in daemon.tail():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_command_finds_and_stops_it(daemon: Daemon, home: Path) -> None:
    daemon.start("sleeper", {})
    said(daemon, "here")
    other = Daemon(home, "part")
    pid = other.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    assert other.stop(5.0)
    assert not is_alive(pid)
    assert (other.pid, daemon.pid) == (None, None)
    assert not other.stop(5.0)


def test_who_ignores_the_request_is_killed_after_the_grace(daemon: Daemon) -> None:
    daemon.start("stubborn", {})
    said(daemon, "here")
    pid = daemon.pid
    assert pid is not None
    assert daemon.stop(0.2)
    assert not is_alive(pid)


def test_a_reused_pid_is_not_taken_for_ours(daemon: Daemon) -> None:
    daemon.pid_file.write_text(json.dumps({"pid": os.getpid(), "start": "1"}))
    assert started_at(os.getpid()) not in (None, "1")
    assert daemon.pid is None
    assert not daemon.stop(0.0)


def test_a_dead_child_does_not_run(daemon: Daemon) -> None:
    daemon.start("no_such_module", {})
    said(daemon, "No module named")
    deadline = time.monotonic() + 5
    while daemon.pid is not None:
        assert time.monotonic() < deadline


def test_only_marked_processes_of_this_home_are_jobs(home: Path) -> None:
    (home / "installation").write_text("abc123\n")
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen(command, env={"CMAC_MARK": "abc123/node/attempt/1/0"})
    theirs = subprocess.Popen(command, env={"CMAC_MARK": "abc1234/node/attempt/1/0"})
    try:
        deadline = time.monotonic() + 5
        while marked(home) != [ours.pid]:  # until both have their environment
            assert time.monotonic() < deadline
        folder = home / "jobs" / "j" / "epoch-1"
        folder.mkdir(parents=True)
        (folder / "rank-0.pid").write_text(f"{theirs.pid}\n")
        assert ranks(home, marked(home)) == []
        (folder / "rank-1.pid").write_text(f"{ours.pid}\n")
        assert ranks(home, marked(home)) == [ours.pid]
    finally:
        for process in (ours, theirs):
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert gone([ours.pid], 1.0)


def test_a_taken_port_is_refused_only_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMAC_API_PORT", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} is taken"):
            _port(port, None)
        assert _port(None, f"http://127.0.0.1:{port}") != port
    assert _port(None, f"http://127.0.0.1:{port}") == port
    monkeypatch.setenv("CMAC_API_PORT", "0")
    assert _port(None, None) not in (0, 8300)
    monkeypatch.setenv("CMAC_API_PORT", "http")
    with pytest.raises(BadInput, match="CMAC_API_PORT"):
        _port(None, None)
