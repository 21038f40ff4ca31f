"""The live screen: one frame printed, and the real thing on a terminal of 80 x 24."""

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from client.feed import View
from client.screen import Screen
from cmac_core.events import Progress
from tests.api.conftest import Lab
from tests.client.conftest import Cmac

WIDTH, HEIGHT = 80, 24


class Proxy:
    """A port that leads to the service, and may be shut and opened again."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._behind = (host, int(port))
        self._live: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._accept()

    def shut(self) -> None:
        for one in (self._listening, *self._live):
            close(one)
        self._live.clear()

    def open(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listening,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._behind)
            self._live += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=copy, args=(source, target), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    close(target)


def close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class Terminal:
    """`cmac top` on a terminal of its own; `frame` is what one sees."""

    def __init__(self, url: str, *options: str) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        hidden = ("COLUMNS", "LINES", "CMAC_URL")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "client", "top", "--every", "0.5", "--url", url, *options],
            stdin=far, stdout=far, stderr=subprocess.PIPE, env=environment | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(far)
        self._text = ""

    def see(self, *words: str, timeout_s: float = 20) -> list[str]:
        """The lines of the first frame with all these words in it."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if select.select([self._near], [], [], 0.2)[0]:
                try:
                    self._text += os.read(self._near, 1 << 16).decode(errors="replace")
                except OSError:
                    break
            *_, whole, _ = ["", "", *self._text.split("\x1b[H")]  # the last one may still be on its way
            shown = [re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", line).rstrip("\r") for line in whole.split("\n")]
            if all(any(word in line for line in shown) for word in words):
                return shown
        raise AssertionError(f"{words} never came; last:\n" + self._text[-3000:])

    def press(self, keys: str) -> None:
        self._text = self._text[-2000:]
        os.write(self._near, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._near)


@pytest.fixture
def busy(lab: Lab) -> Iterator[str]:
    """One job runs, 30 wait; gone afterwards."""
    running = lab.submit(name="the running one")
    lab.tell(lab.start(running), Progress(phase="extract", step=120, of=500, rate=49.1, unit="clips", eta_s=75))
    waiting = [lab.submit(name=f"waits-{i:02}") for i in range(30)]
    yield running
    for job in (running, *waiting):
        lab.http.post(f"/jobs/{job}/cancel", params={"force": True})


def test_one_frame_shows_machines_what_runs_and_what_waits_with_reasons(cmac: Cmac, busy: str) -> None:
    said = cmac("top", "--once")
    assert (said.code, said.err) == (0, "")
    assert "CPU slots" in said.out
    line = next(line for line in said.out.splitlines() if busy[:8] in line)
    assert "extract 120/500" in line
    assert said.out.count("waits-") == 30
    assert cmac("top").out.count("waits-") == 30  # no terminal: the same
    body = json.loads(cmac("top", "--json").out)
    assert busy in [row["id"] for row in body["running"]]
    assert {"nodes", "running", "waiting"} == set(body)


@pytest.mark.system
def test_on_a_terminal_it_scrolls_filters_and_quits(lab: Lab, busy: str) -> None:
    terminal = Terminal(lab.url)
    try:
        first = terminal.see("the running one", "lines below")
        assert len(first) <= HEIGHT
        assert max(map(len, first)) <= WIDTH
        assert "waits-29" not in "".join(first)
        terminal.press("\x1b[F")  # End
        assert len(terminal.see("waits-29")) <= HEIGHT
        terminal.press("/")
        terminal.see("filter:")
        terminal.press("q\x7fs-07")  # letters are of the filter now
        terminal.see("filter: s-07")
        terminal.press("\r")
        left = "".join(terminal.see("only 's-07'", "waits-07"))
        assert "waits-08" not in left
        terminal.press("q")
        assert terminal.process.wait(timeout=10) == 0
    finally:
        terminal.close()


@pytest.mark.system
def test_it_survives_a_service_that_goes_away_and_comes_back_and_says_so(lab: Lab, busy: str) -> None:
    proxy = Proxy(lab.url)
    terminal = Terminal(f"http://127.0.0.1:{proxy.port}")
    try:
        terminal.see("the running one")
        proxy.shut()
        terminal.see("old: no service answers", "the running one")
        proxy.open()
        terminal.see("at work", "the running one")
        terminal.press("q")
        assert terminal.process.wait(timeout=10) == 0
    finally:
        terminal.close()
        proxy.shut()


def test_a_service_that_never_answered_exits_as_everywhere(cmac: Cmac) -> None:
    assert cmac("top", "--url", "http://127.0.0.1:9").code == 4


def device(index: int, **changes: Any) -> dict[str, Any]:
    usual = {"kind": "gpu", "index": index, "model": "H100", "memory_mb": 81559, "state": "ok", "lease": None}
    return {**usual, "health": {"use": 93.0, "used_mb": 40000.0}, **changes}


def test_a_gpu_tells_its_load_memory_health_and_owner() -> None:
    job = {"id": "0b0e" * 8, "owner": "ana", "name": "[red]n[/]", "kind": "pretrain", "state": "running"}
    node = {"name": "gpu-03", "state": "ready", "suspect": False, "reason": None, "devices": [
        device(0, lease={"job": job["id"], "owner": "x", "since": "now"}), device(1, state="ghost", health=None),
    ]}  # fmt: skip
    out = StringIO()
    Console(file=out, width=WIDTH, height=HEIGHT).print(Screen(View([node], [job], [], time.time())))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    leased, ghost = (next(line for line in lines if f"gpu {index}" in line) for index in (0, 1))
    assert all(text in leased for text in ("H100", "93 %", "40 GB of 81.6 GB", "0b0e0b0e", "ana"))
    assert "ghost" in ghost
    assert any("[red]n[/]" in line for line in lines)
