"""Who asks: a Bearer key on every request, looked up in a short transaction of its own."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.rates import Rates
from store import keys
from store.database import transact
from store.errors import Unauthenticated
from store.keys import Principal, Role

bearer = HTTPBearer(auto_error=False, description="An API key: `cmac_<id>_<secret>`.")


def authenticate(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> Principal:
    """The caller. Raises Unauthenticated, or RateLimited when the key asks too often.

    The lookup is over before the request's own transaction begins, so that a stream holds no connection.
    """
    rates: Rates = request.app.state.rates
    try:
        if given is None:
            raise Unauthenticated
        token = given.credentials
        principal = transact(lambda session: keys.authenticate(session, token))
    except Unauthenticated:
        # Guessing is limited by address; a good key from there is not.
        rates.take(f"address {client_address(request)}")
        raise
    rates.take(principal.key)
    request.state.principal = principal.user
    return principal


PrincipalDep = Annotated[Principal, Depends(authenticate)]


def client_address(request: Request) -> str:
    """Where the request comes from; behind a proxy on this machine, what that says."""
    return request.client.host if request.client else ""


class Needs:
    """A dependency: callers of at least this role. Raises Forbidden with `needs_role`."""

    def __init__(self, role: Role) -> None:
        self._role = role

    def __call__(self, principal: PrincipalDep) -> Principal:
        principal.require(self._role)
        return principal


class NeedsForLab(Needs):
    """The same for what belongs to no project: a key for one project is not enough. Raises Forbidden."""

    def __call__(self, principal: PrincipalDep) -> Principal:
        principal.require_for_lab(self._role)
        return principal


ViewerDep = Annotated[Principal, Depends(Needs(Role.viewer))]
SubmitterDep = Annotated[Principal, Depends(Needs(Role.submitter))]
OperatorDep = Annotated[Principal, Depends(NeedsForLab(Role.operator))]
AdminDep = Annotated[Principal, Depends(NeedsForLab(Role.admin))]
