"""Addresses of the embedded servers: unix sockets, or ports where other machines may come."""

import json
import os
import secrets
import socket
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from store.embedded.places import sockets
from store.settings import Settings, make_home


class Network(NamedTuple):
    """Where other machines reach what is embedded."""

    host: str
    postgres: int  # ports
    redis: int
    password: str


def network(settings: Settings) -> Network | None:
    """Ports and password, made at the first call and kept in the home; None without CMAC_LISTEN."""
    if settings.listen is None:
        return None
    file = make_home(settings) / "network.json"
    if not file.exists():
        made = {"postgres": free_port(settings.listen), "redis": free_port(settings.listen)}
        draft = file.with_name(f"network.{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made | {"password": secrets.token_urlsafe(24)}))
        with suppress(FileExistsError):  # the first of several processes wins
            os.link(draft, file)
        draft.unlink()
    return Network(settings.listen, **json.loads(file.read_text()))


def free_port(host: str) -> int:
    """One that nothing listens on at this moment."""
    with socket.create_server((host, 0)) as free:
        return int(free.getsockname()[1])


def database_url(settings: Settings) -> str:
    """Address of the embedded PostgreSQL, running or not."""
    if (at := network(settings)) is not None:
        return f"postgresql://postgres:{at.password}@{at.host}:{at.postgres}/postgres"
    return f"postgresql://postgres@/postgres?host={quote(str(sockets(settings) / 'pg'))}"


def broker_url(settings: Settings) -> str:
    """Address of the embedded Redis, running or not, in Celery's form."""
    if (at := network(settings)) is not None:
        return f"redis://:{at.password}@{at.host}:{at.redis}/0"
    return f"redis+socket://{sockets(settings) / 'redis' / 's'}"
