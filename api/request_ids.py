"""One id for each request: given or made, in every answer and every log line."""

import re
import uuid
from contextvars import ContextVar

HEADER = b"x-request-id"
_current: ContextVar[str] = ContextVar("request_id", default="")
_FIT = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def request_id() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


def take(headers: list[tuple[bytes, bytes]]) -> str:
    """The id that came with the request if it is fit to be logged, else a new one; current from now on."""
    given = next((value for name, value in headers if name == HEADER), b"")
    chosen = given.decode() if _FIT.fullmatch(given) else str(uuid.uuid4())
    _current.set(chosen)
    return chosen
