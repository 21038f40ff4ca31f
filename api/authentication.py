"""Who asks: a Bearer key or a browser's cookie on every request, looked up before anything else."""

import ipaddress
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import cookies
from api.rates import Rates
from store import browser_sessions, keys
from store.database import readers
from store.errors import Unauthenticated
from store.keys import Principal, Role, Scope

bearer = HTTPBearer(auto_error=False, description="An API key: `cmac_<id>_<secret>`.")


def authenticate(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> Principal:
    """The caller. Raises Unauthenticated, RateLimited when the key asks too often, Forbidden for a foreign page's.

    The lookup has given its connection back before the request's own work begins, so that a stream holds none.
    """
    rates: Rates = request.app.state.rates
    try:
        principal = _by_key(given.credentials) if given else _by_cookie(request)
    except Unauthenticated:
        # Guessing is limited by address; a good key from there is not.
        rates.take(f"address {client_address(request)}")
        raise
    rates.take(principal.key)
    request.state.principal = principal.user
    return principal


def _by_key(token: str) -> Principal:
    with readers() as session:
        return keys.authenticate(session, token)


def _by_cookie(request: Request) -> Principal:
    token = cookies.read(request)
    if token is None:
        raise Unauthenticated
    with readers() as session:
        principal = browser_sessions.authenticate(session, token)
    cookies.check_csrf(request, token)
    return principal


PrincipalDep = Annotated[Principal, Depends(authenticate)]


def client_address(request: Request) -> str:
    """Where the request comes from; behind a proxy on this machine, what that says."""
    return request.client.host if request.client else ""


def is_local(request: Request) -> bool:
    """Whether it comes from this machine."""
    try:
        return ipaddress.ip_address(client_address(request)).is_loopback
    except ValueError:
        return False


class Needs:
    """A dependency: callers of at least this role, with a key for this scope.

    What changes nothing asks for the scope `read`, whatever the role. Raises Forbidden: `needs_role`, `needs_scope`.
    """

    def __init__(self, role: Role, scope: Scope) -> None:
        self._role, self._scope = role, scope

    async def __call__(self, request: Request, principal: PrincipalDep) -> Principal:  # not for a thread: it only looks
        self._check_role(principal)
        principal.require_scope(Scope.read if request.method in ("GET", "HEAD") else self._scope)
        return principal

    def _check_role(self, principal: Principal) -> None:
        principal.require(self._role)


class NeedsForLab(Needs):
    """The same for what belongs to no project: a key for one project is not enough. Raises Forbidden."""

    def _check_role(self, principal: Principal) -> None:
        principal.require_for_lab(self._role)


ViewerDep = Annotated[Principal, Depends(Needs(Role.viewer, Scope.submit))]
SubmitterDep = Annotated[Principal, Depends(Needs(Role.submitter, Scope.submit))]
OperatorDep = Annotated[Principal, Depends(NeedsForLab(Role.operator, Scope.operate))]
AdminDep = Annotated[Principal, Depends(NeedsForLab(Role.admin, Scope.admin))]
KeyHolderDep = Annotated[Principal, Depends(Needs(Role.viewer, Scope.admin))]  # for what is their own, or an admin's
