"""A request that creates may come twice and happens once: Idempotency-Key (API 2.5)."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from fastapi import Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from store import idempotency
from store.idempotency import Answer
from store.keys import Principal

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Any unique text, kept over retries; known for 24 hours."),
]


class Once(NamedTuple):
    """What tells a request from others of the same key."""

    request: Request
    session: Session
    principal: Principal
    key: str | None

    def answer(self, body: Any, work: Callable[[], Answer]) -> JSONResponse:
        """The work's answer, or the first one's with `Idempotent-Replayed: true`.

        Raises IdempotencyMismatch and IdempotencyInProgress. Work that raises uses up no key: all is undone.
        """
        if self.key is None:
            return _response(work())
        url = self.request.url
        fingerprint = idempotency.fingerprint(self.request.method, f"{url.path}?{url.query}", body)
        before = idempotency.begin(self.session, self.principal, self.key, fingerprint)
        if before is not None:
            return _response(before._replace(headers=before.headers | {"Idempotent-Replayed": "true"}))
        made = work()
        made = made._replace(body=jsonable_encoder(made.body))
        idempotency.keep(self.session, self.principal, self.key, made)
        return _response(made)


def _response(answer: Answer) -> JSONResponse:
    return JSONResponse(jsonable_encoder(answer.body), answer.status, headers=answer.headers)
