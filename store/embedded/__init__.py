"""The PostgreSQL and the Redis that come in wheels: started detached below the home, stopped only when asked.

Both outlive the process that started them, and starting what runs already changes nothing. Neither listens
on a port: a unix socket in a folder of mode 0700 is all there is. With CMAC_LISTEN other machines reach both at that
address, by a password that is made at the first start.

`python -m store.embedded start|stop|status` is for those that no CMAC_DATABASE_URL or CMAC_BROKER_URL replaces;
`urls` prints what other machines set these to.
"""

from store.embedded import postgres, redis
from store.embedded.network import Network, broker_url, database_url, free_port, network
from store.embedded.postgres import postgres_program, start_postgres, stop_postgres
from store.embedded.redis import start_redis, stop_redis
from store.settings import Settings

__all__ = [
    "Network",
    "broker_url",
    "database_url",
    "free_port",
    "is_running",
    "network",
    "postgres_program",
    "start_postgres",
    "start_redis",
    "stop_postgres",
    "stop_redis",
]


def is_running(settings: Settings) -> dict[str, bool]:
    """Whether the embedded parts run: {"postgres": ..., "redis": ...}."""
    return {"postgres": postgres.is_running(settings), "redis": redis.is_running(settings)}
