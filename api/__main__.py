"""`python -m api [--host ADDRESS] [--port PORT]`: serve until asked to stop. `--check`: is it up and ready?"""

import argparse
import logging
import sys
import urllib.error
import urllib.request

from api.settings import ApiSettings, api_settings

_CHECK_S = 4.0


def main(arguments: list[str] | None = None) -> int:
    """0 after an orderly stop or a good check, 1 when it is not ready, 2 when the address cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help="address to listen on (CMAC_API_HOST; 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes a free one (CMAC_API_PORT; 8300)")
    parser.add_argument(
        "--check", action="store_true", help="ask the service that runs here; exit 1 if it is not ready"
    )
    asked = parser.parse_args(arguments)
    given = {name: value for name in ("host", "port") if (value := getattr(asked, name)) is not None}
    settings = ApiSettings.model_validate(api_settings().model_dump() | given)
    if asked.check:
        return _check(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    from api.server import serve  # a check is asked every few seconds and needs none of this

    return serve(settings)


def _check(settings: ApiSettings) -> int:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls_cert and settings.tls_key else "http"
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches this machine
    try:
        with here.open(f"{scheme}://{host}:{settings.port}/readyz", timeout=_CHECK_S) as answer:
            sys.stdout.write(answer.read().decode() + "\n")
        return 0
    except (urllib.error.URLError, TimeoutError) as error:
        sys.stdout.write(f"not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
