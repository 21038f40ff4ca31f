"""HTTP to the service: one key per request kept over its retries, problems turned into errors."""

import json
import random
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from client.address import DEFAULT_URL, home_here
from client.errors import ServiceAway, api_error

RETRIES = 5
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=10.0)  # the service sends a comment every 15 s
_LATER = (429, 503)
_LONGEST_WAIT_S = 60.0

Params = Mapping[str, Any] | None


class Connection:
    """A service's address and a key. Retries every method on a lost connection, 429 and 503.

    A POST that creates carries an Idempotency-Key which stays the same over its retries, so that a lost
    answer never makes a second job.
    """

    def __init__(self, url: str, key: str | None, *, retries: int = RETRIES, timeout: httpx2.Timeout = TIMEOUT) -> None:
        self.url = url
        self._retries = retries
        self.met = False  # whether the service ever answered
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # trust_env=False for a service of this machine: a proxy of the environment cannot reach it.
        here = httpx2.URL(url).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, trust_env=not here)

    def close(self) -> None:
        """Give the sockets back."""
        self._http.close()

    def get(self, path: str, params: Params = None, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """GET; 304 is returned as it is. Raises ApiError or ServiceAway."""
        return self._send("GET", path, params=params, headers=headers)

    def post(
        self,
        path: str,
        body: Any = None,
        params: Params = None,
        *,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> httpx2.Response:
        """POST of a JSON body under one idempotency key: `key`, or a new one. `timeout_s`: for the answer."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        patience = {} if timeout_s is None else {"timeout": httpx2.Timeout(timeout_s, connect=10.0)}
        if body is None:
            return self._send("POST", path, params=params, headers=headers, **patience)
        headers["Content-Type"] = "application/json"
        return self._send("POST", path, params=params, headers=headers, content=json.dumps(body).encode(), **patience)

    def patch(self, path: str, fields: Mapping[str, Any], *, if_match: str = "*") -> httpx2.Response:
        """PATCH of the given fields, if the row is still as its ETag says. Said again, it changes nothing more."""
        headers = {"Content-Type": "application/merge-patch+json", "If-Match": if_match}
        return self._send("PATCH", path, headers=headers, content=json.dumps(fields).encode())

    def put(self, path: str, body: Any) -> httpx2.Response:
        """PUT of a JSON body, which may be repeated."""
        headers = {"Content-Type": "application/json"}
        return self._send("PUT", path, headers=headers, content=json.dumps(body).encode())

    def delete(self, path: str) -> httpx2.Response:
        """DELETE, which may be repeated."""
        return self._send("DELETE", path)

    @contextmanager
    def stream(
        self, path: str, params: Params = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        """An answer that is read while it comes. What breaks off is not begun again here (`client.streams` resumes)."""
        request: dict[str, Any] = {"params": _flat(params), "headers": headers, "timeout": STREAM_TIMEOUT}
        try:
            for attempt in range(self._retries + 1):
                with self._http.stream("GET", path, **request) as response:
                    if response.status_code in _LATER and attempt < self._retries:
                        pause = _asked_pause(response) or _pause(attempt)
                    elif response.status_code >= 400:
                        response.read()
                        raise api_error(response.status_code, _problem(response))
                    else:
                        self.met = True
                        yield response
                        return
                time.sleep(pause)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise self._away(error) from error

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        request["params"] = _flat(request.get("params"))
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._http.request(method, path, **request)
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                # A service that never answered was not lost: it is not there, and waiting brings nothing.
                if last or not self.met or isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
                    raise self._away(error) from error
                time.sleep(_pause(attempt))
                continue
            self.met = True
            if response.status_code in _LATER and not last:
                time.sleep(_asked_pause(response) or _pause(attempt))
                continue
            if response.status_code >= 400:
                raise api_error(response.status_code, _problem(response))
            return response
        raise AssertionError("the last attempt returns or raises")

    def _away(self, error: Exception) -> ServiceAway:
        if isinstance(error, httpx2.TimeoutException) and self.met:
            return ServiceAway(f"the service at {self.url} does not answer in time; `cmac status` shows what runs")
        start = "start it with `cmac up`" if _local(self.url) else "check the address (--url or CMAC_URL)"
        if (here := home_here()) is not None and self.url == DEFAULT_URL:
            start = f"this folder's own is found with `export CMAC_HOME={shlex.quote(str(here))}`"
        return ServiceAway(f"no service answers at {self.url}: {start}")


def _local(url: str) -> bool:
    return url == DEFAULT_URL or httpx2.URL(url).host in ("127.0.0.1", "localhost", "::1")


def _flat(params: Params) -> list[tuple[str, str | int | float | bool | None]]:
    """Query parameters; None is left out, a list becomes a repeated parameter."""
    pairs: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in (params or {}).items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                pairs.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
    return pairs


def _problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and ("code" in problem or "detail" in problem):
        return problem
    # Something between us and the service answered, or another program listens on the port.
    return {"title": f"{response.url} answered {response.status_code}, not in the service's form"}


def _pause(attempt: int) -> float:
    return 0.5 * 2.0**attempt * random.uniform(0.5, 1.0)


def _asked_pause(response: httpx2.Response) -> float | None:
    try:
        return min(max(float(response.headers["Retry-After"]), 0.0), _LONGEST_WAIT_S)
    except (KeyError, ValueError):
        return None
