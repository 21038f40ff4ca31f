"""The cookie of whoever signed in with a browser, and what keeps other sites from using it (API 9.9)."""

import hashlib
import hmac
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request, Response

from store import browser_sessions
from store.errors import Forbidden
from store.settings import settings

CSRF_HEADER = "X-CSRF-Token"
_SAFE = ("GET", "HEAD", "OPTIONS")


def read(request: Request) -> str | None:
    """The session's token, if a browser sent one."""
    return request.cookies.get(_name(settings().root))


def write(request: Request, response: Response, token: str, expires_at: datetime) -> None:
    """Only for this site's own requests, out of reach of scripts, and over TLS alone where there is TLS."""
    response.set_cookie(
        _name(settings().root),
        token,
        expires=expires_at.astimezone(UTC),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def forget(response: Response) -> None:
    """Have the browser drop it."""
    response.delete_cookie(_name(settings().root), httponly=True, samesite="strict")


def check_origin(request: Request) -> None:
    """Raises Forbidden where a page of another site made the browser send this."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden(f"this request comes from a page of {origin[:200]}, not from one of this service")


def check_csrf(request: Request, token: str) -> None:
    """Whatever changes something carries Origin and the page's CSRF token. Raises Forbidden."""
    if request.method in _SAFE:
        return
    if "origin" not in request.headers:
        raise Forbidden("with a browser's cookie this needs the header Origin; programs send a key instead")
    check_origin(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), browser_sessions.csrf_token(token).encode()):
        raise Forbidden(f"the header {CSRF_HEADER} is missing or of another session; load the page again")


@cache
def _name(home: Path) -> str:
    # Cookies know no ports: two labs on one machine would sign each other's people out.
    return f"cmac_{hashlib.sha256(settings().installation.encode()).hexdigest()[:8]}"
