"""No body is read beyond the limit, whatever its headers say."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge
from api.problems import problem


class BodyLimit:
    """ASGI: 413 from Content-Length at once, and from the bytes as they come in."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length[:20]) > self._limit:
            answer = problem(scope["path"], TooLarge.code, self._detail, {"Connection": "close"}, limit=self._limit)
            await answer(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    @property
    def _detail(self) -> str:
        return f"the body is larger than {self._limit} bytes"

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._limit:
                    raise TooLarge(self._detail, limit=self._limit)
            return message

        return counted
