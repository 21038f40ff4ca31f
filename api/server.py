"""The app behind a socket."""

import asyncio
import ipaddress
import logging
import signal
import socket
import sys

import uvicorn

from api.app import make_app
from api.settings import ApiSettings
from api.sse import Streams

log = logging.getLogger("api")

_KEEP_ALIVE_S = 65  # longer than clients keep theirs: they close, so that no request meets a closing connection


class Server(uvicorn.Server):
    """Ends the streams first: they would keep a graceful stop waiting. Sees to itself twice a second, not ten times."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def main_loop(self) -> None:
        counter = 0  # of tenths of a second
        while not await self.on_tick(counter):
            counter += 5
            await asyncio.sleep(0.5)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.leave()
        await super().shutdown(sockets)


def serve(settings: ApiSettings) -> int:
    """Until a signal. Exit code 0 after an orderly stop, 2 when the address cannot be had."""
    local, tls = is_loopback(settings.host), bool(settings.tls_cert and settings.tls_key)
    # Where nobody sees the terminal and `cmac up` is far, the log is the only place for the first key.
    app = make_app(settings, announce_key=not local or sys.stderr.isatty())
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # ours has the request's id
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_s,
        ssl_certfile=settings.tls_cert if tls else None,
        ssl_keyfile=settings.tls_key if tls else None,
        server_header=False,
    )
    try:
        listening = bind(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        log.error("cannot listen on %s: %s; is it running already? --port 0 takes a free port", where, error.strerror)
        return 2
    host, port = listening.getsockname()[:2]
    if not local and not tls:
        log.warning("keys travel in the open: %s is not this machine alone, and there is no TLS", host)
    log.info("listening on http%s://%s:%d", "s" if tls else "", host, port)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, _leave)  # uvicorn's own handlers come on top, and hand the signal on at the end
    Server(config, app.state.streams).run(sockets=[listening])
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(settings: ApiSettings) -> socket.socket:
    """The socket that the API listens on. Raises OSError when its address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named: asyncio turns off Nagle's algorithm for sockets that say they are TCP's alone. With it each small answer,
    # which is written in two pieces, waits 40 ms for the other side's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)  # from now on connections wait rather than fail
    except OSError:
        listening.close()
        raise
    return listening


def _leave(*_: object) -> None:
    sys.exit(0)
