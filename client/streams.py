"""Server-sent events that go on where they broke off."""

import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2

from client.connection import Connection, Params
from client.errors import ApiError, ServiceAway

END = "end"
_ATTEMPTS = 8


class StreamEvent(NamedTuple):
    """One event of a stream. `id` is empty for events that are live only (progress, waiting)."""

    id: str
    type: str
    data: Any


def follow(connection: Connection, path: str, params: Params = None, last_id: str = "") -> Iterator[StreamEvent]:
    """Events until `end`, each once, in order: a broken connection is taken up behind the last id seen.

    Raises ServiceAway when the service stays away for about a minute, ApiError when it refuses.
    """
    failures = 0
    while True:
        try:
            for event in _connected(connection, path, params, last_id):
                failures = 0
                if event.id:
                    last_id = event.id
                yield event
                if event.type == END:
                    return
            failures += 1  # closed without an end: a restart of the service, or a time limit on the way
        except _Finished:
            return
        except (ServiceAway, ApiError) as error:
            passing = isinstance(error, ServiceAway) or error.status in (429, 500, 502, 503, 504)
            failures += 1
            if not passing or failures > _ATTEMPTS or not connection.met:
                raise
        time.sleep(min(0.25 * 2**failures, 15.0) * random.uniform(0.5, 1.0))


class _Finished(Exception):
    """204: nothing will ever follow."""


def _connected(connection: Connection, path: str, params: Params, last_id: str) -> Iterator[StreamEvent]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    seen = last_id
    with connection.stream(path, params, headers) as response:
        if response.status_code == 204:
            raise _Finished
        for event in httpx2.EventSource(response):
            if not event.data:
                continue
            # The decoder repeats the last id on events that have none of their own.
            own = "" if event.id == seen else event.id
            seen = event.id or seen
            yield StreamEvent(own, event.event, _value(event))


def _value(event: httpx2.ServerSentEvent) -> Any:
    try:
        return event.json()
    except ValueError:
        return event.data
