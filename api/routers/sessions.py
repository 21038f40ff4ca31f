"""A browser's session: a key for a cookie (API 9.9)."""

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api import cookies
from api.authentication import client_address
from api.bodies import SignIn, parse_body
from api.dependencies import SessionDep
from api.json_bodies import AnyonesJsonBody
from api.openapi import problems, takes
from api.rates import Rates
from api.request_ids import request_id
from api.views.base import Time, View
from store import audit, browser_sessions
from store.errors import Unauthenticated

router = APIRouter(prefix="/session", tags=["lab"])


class SessionView(View):
    """A browser's session. Its token is in the cookie alone."""

    user: str
    role: str
    project: str | None
    expires_at: Time
    csrf_token: str = Field(description="Goes with whatever changes something, as X-CSRF-Token.")


@router.post("", status_code=201, responses=problems(401, 403, 429), openapi_extra=takes(SignIn))
def sign_in(body: AnyonesJsonBody, request: Request, response: Response, session: SessionDep) -> SessionView:
    """Sign a browser in: the answer sets a cookie that stands for the key, for two weeks or until the key expires."""
    cookies.check_origin(request)
    key = parse_body(SignIn, body).key.strip()
    try:
        begun = browser_sessions.begin(session, key)
    except Unauthenticated:
        rates: Rates = request.app.state.rates
        rates.take(f"address {client_address(request)}")
        raise
    principal = begun.principal
    audit.write(
        session, principal, "session.begin", principal.key, ip=client_address(request), request_id=request_id()
    )  # fmt: skip
    cookies.write(request, response, begun.token, begun.expires_at)
    return SessionView(
        user=principal.user,
        role=principal.role,
        project=principal.project,
        expires_at=begun.expires_at,
        csrf_token=browser_sessions.csrf_token(begun.token),
    )


@router.delete("", status_code=204, responses=problems(403))
def sign_out(request: Request, response: Response, session: SessionDep) -> None:
    """Sign a browser out. Nothing happens when it is out already."""
    token = cookies.read(request)
    if token is not None:
        cookies.check_csrf(request, token)
        browser_sessions.end(session, token)
    cookies.forget(response)
