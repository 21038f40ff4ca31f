"""A receiver of webhooks: a real HTTP server in a thread."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What came: names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with `status` and `headers`, then `more` bytes; hangs until `answer_now` is set."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False  # a body without end
    drip_s: float = 0.0  # between the bytes of the head
    requests: list[Request] = field(default_factory=list)
    answer_now: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/in?x=1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer_now.wait(30)
        if self.drip_s:
            while not self.over.wait(self.drip_s):
                handler.wfile.write(b"H")
            return
        handler.send_response(self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        while self.endless and not self.over.is_set():
            handler.wfile.write(b"x" * 65536)
            time.sleep(0.01)


@contextmanager
def receiving(address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """One that listens; it answers at once unless told otherwise."""
    receiver = Receiver()
    receiver.answer_now.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Request(self.path, headers, body))
            try:
                receiver.answer(self)
            except OSError:
                self.close_connection = True  # the lab hung up

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a handshake that was broken off

    server = Server((address, port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        receiver.answer_now.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
