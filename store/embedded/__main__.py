"""`python -m store.embedded start|stop|status|urls`."""

import argparse
import json
import sys

from store.embedded import (
    broker_url,
    database_url,
    is_running,
    start_postgres,
    start_redis,
    stop_postgres,
    stop_redis,
)
from store.settings import settings as own_settings


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
