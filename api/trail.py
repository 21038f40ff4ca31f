"""The audit trail of writes: who, what, on what, from where (API 9.10)."""

from typing import Annotated, Any

from fastapi import Depends, Request

from api.authentication import PrincipalDep, client_address
from api.dependencies import SessionDep
from api.request_ids import request_id
from store import audit


class Trail:
    """Writes rows into the request's own transaction: what was undone leaves none."""

    def __init__(self, request: Request, session: SessionDep, principal: PrincipalDep) -> None:
        self._request, self._session, self._principal = request, session, principal

    def write(self, action: str, target: object, after: dict[str, Any] | None = None) -> None:
        """One row; never keys."""
        address = client_address(self._request)
        audit.write(
            self._session, self._principal, action, str(target), after=after, ip=address, request_id=request_id()
        )


TrailDep = Annotated[Trail, Depends()]
