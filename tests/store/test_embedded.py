"""The embedded PostgreSQL and Redis outlive who started them and stop when asked."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from store import embedded
from store.settings import Settings

START = """
import sys
from pathlib import Path
from store import embedded
from store.settings import Settings
settings = Settings(home=Path(sys.argv[1]))
embedded.start_postgres(settings, durable=False)
embedded.start_redis(settings)
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("CMAC_DATABASE_URL", raising=False)
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        yield Path(folder)
        embedded.stop_postgres(Settings(home=Path(folder)))
        embedded.stop_redis(Settings(home=Path(folder)))


def ask(settings: Settings) -> str:
    with psycopg.connect(embedded.database_url(settings)) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
    return str(row and row[0])


@pytest.mark.system
def test_they_survive_their_starter_keep_their_data_and_stop_when_asked(home: Path) -> None:
    settings = Settings(home=home)
    for _ in range(2):  # starting what runs changes nothing
        subprocess.run([sys.executable, "-c", START, str(home)], check=True, timeout=60)
    assert embedded.is_running(settings) == {"postgres": True, "redis": True}
    assert ask(settings).startswith("18")
    socket = embedded.broker_url(settings).removeprefix("redis+socket://")
    with redis.Redis(unix_socket_path=socket) as client:
        client.set("kept", "yes")
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert embedded.stop_redis(settings)
    assert embedded.stop_postgres(settings)
    assert not embedded.stop_postgres(settings)
    assert embedded.is_running(settings) == {"postgres": False, "redis": False}
    embedded.start_redis(settings)
    with redis.Redis(unix_socket_path=socket) as client:
        assert client.get("kept") == b"yes"


@pytest.mark.system
def test_other_machines_reach_them_by_a_password_alone(home: Path) -> None:
    settings = Settings(home=home, listen="127.0.0.1")
    embedded.start_postgres(settings, durable=False)
    embedded.start_redis(settings)
    at = embedded.network(settings)
    assert at is not None
    assert stat.S_IMODE((home / "network.json").stat().st_mode) == 0o600
    assert ask(settings).startswith("18")
    address = embedded.database_url(settings)
    assert f"@127.0.0.1:{at.postgres}/" in address
    for wrong in (address.replace(at.password, "guess"), address.replace(f":{at.password}", "")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong)
    with redis.Redis.from_url(embedded.broker_url(settings)) as client:
        assert client.ping()
    with redis.Redis(host=at.host, port=at.redis) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    env = os.environ | {"CMAC_HOME": str(home), "CMAC_LISTEN": "127.0.0.1"}
    command = [sys.executable, "-m", "store.embedded", "urls"]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [f"CMAC_DATABASE_URL={address}", f"CMAC_BROKER_URL={embedded.broker_url(settings)}"]
    assert embedded.is_running(Settings(home=home)) == {"postgres": True, "redis": True}


@pytest.mark.system
def test_nobody_else_may_enter_and_nothing_outside_is_widened(home: Path) -> None:
    settings = Settings(home=home / "deep")
    before = stat.S_IMODE(home.stat().st_mode)
    embedded.start_postgres(settings, durable=False)
    assert stat.S_IMODE(home.stat().st_mode) == before
    data = (settings.root / "postgres").resolve()
    socket = Path(embedded.database_url(settings).partition("host=")[2].replace("%2F", "/"))
    for folder in (data, socket):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ask(settings).startswith("18")
    embedded.stop_postgres(settings)
    if data.parent != settings.root:  # root below a closed folder: the data live beside
        assert os.geteuid() == 0
        shutil.rmtree(data)
        shutil.rmtree(socket.parent)


def test_a_home_with_a_long_path_has_its_sockets_elsewhere(home: Path) -> None:
    settings = Settings(home=home / ("x" * 120))
    socket = embedded.broker_url(settings).removeprefix("redis+socket://")
    assert len(socket) < 100
    embedded.start_redis(settings)
    assert embedded.stop_redis(settings)
    shutil.rmtree(Path(socket).parents[1])


@pytest.mark.system
def test_what_does_not_come_up_says_why(home: Path) -> None:
    settings = Settings(home=home)
    embedded.start_postgres(settings, durable=False)
    embedded.stop_postgres(settings)
    (home / "postgres").resolve().joinpath("postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(RuntimeError, match="nonsense"):
        embedded.start_postgres(settings)
