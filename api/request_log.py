"""Around every request: its id, its line in the log, its time in the metrics, and a 500 that gives nothing away."""

import json
import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import request_ids
from api.gauges import Gauges
from api.problems import problem
from api.ui.errors import for_reader

access = logging.getLogger("api.access")
log = logging.getLogger("api.request")


class RequestLog:
    """ASGI, outermost."""

    def __init__(self, app: ASGIApp, gauges: Gauges) -> None:
        self._app, self._gauges = app, gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_ids.take(scope["headers"])
        started, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            await self._app(scope, receive, with_headers)
        except ClientDisconnect:
            log.info("request %s: the client left before it had said everything", request_id)
        except Exception:
            # The one place that takes any error: the client gets the id alone, the log gets everything.
            log.exception("request %s failed", request_id)
            if status:
                raise
            text = "the service made a mistake; the operator finds it in the log by this request id"
            answer = for_reader(Request(scope), problem(scope["path"], "internal", text))
            await answer(scope, receive, with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - started, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "none")  # the template: raw paths would be labels without end
        self._gauges.http.labels(route, _method(scope["method"]), str(status)).observe(seconds)
        line = {
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "principal": scope.get("state", {}).get("principal"),
            "client": (scope.get("client") or ("",))[0],
        }
        access.info(json.dumps(line))


def _method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS") else "OTHER"
