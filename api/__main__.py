"""`python -m api [--host ADDRESS] [--port PORT]`: serve until asked to stop."""

import argparse
import ipaddress
import logging
import signal
import socket
import sys

import uvicorn

from api.app import make_app
from api.settings import ApiSettings, api_settings
from api.sse import Streams

log = logging.getLogger("api")


class Server(uvicorn.Server):
    """Ends the streams first: they would keep a graceful stop waiting."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.leave()
        await super().shutdown(sockets)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after an orderly stop, 2 when the address cannot be had."""
    settings = _settings(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    app = make_app(settings)
    tls = bool(settings.tls_cert and settings.tls_key)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # ours has the request's id
        timeout_keep_alive=65,  # longer than clients keep theirs: they close, so that no request meets a closing one
        timeout_graceful_shutdown=settings.shutdown_s,
        ssl_certfile=settings.tls_cert if tls else None,
        ssl_keyfile=settings.tls_key if tls else None,
        server_header=False,
    )
    try:
        listening = _bind(settings)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        log.error("cannot listen on %s: %s; is it running already? --port 0 takes a free port", where, error.strerror)
        return 2
    host, port = listening.getsockname()[:2]
    if not _is_loopback(settings.host) and not tls:
        log.warning("keys travel in the open: %s is not this machine alone, and there is no TLS", host)
    log.info("listening on http%s://%s:%d", "s" if tls else "", host, port)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, _leave)  # uvicorn's own handlers come on top, and hand the signal on at the end
    Server(config, app.state.streams).run(sockets=[listening])
    return 0


def _leave(*_: object) -> None:
    sys.exit(0)


def _settings(arguments: list[str] | None) -> ApiSettings:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help="address to listen on (CMAC_API_HOST; 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes a free one (CMAC_API_PORT; 8300)")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    return ApiSettings.model_validate(api_settings().model_dump() | given)


def _bind(settings: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)  # from now on connections wait rather than fail
    except OSError:
        listening.close()
        raise
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    sys.exit(main())
