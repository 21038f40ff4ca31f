"""Who is signed in with a browser: a key was shown once, a cookie stands for it since (API 9.9)."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from store import keys
from store.errors import Unauthenticated
from store.keys import Principal
from store.tables import ApiKey, BrowserSession

LASTS = timedelta(days=14)
_BY_TOKEN = keys.OPENING.join(BrowserSession, BrowserSession.key_id == ApiKey.id).where(
    BrowserSession.token_sha256 == bindparam("sha256"), BrowserSession.expires_at > func.now()
)


class SignedIn(NamedTuple):
    """A new session. The token is for the cookie and kept nowhere else."""

    token: str
    principal: Principal
    expires_at: datetime


def begin(session: Session, key: str) -> SignedIn:
    """Sign in with an API key, for two weeks or until the key expires. Raises Unauthenticated."""
    principal = keys.authenticate(session, key)
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at < func.now()))
    token = secrets.token_urlsafe(32)
    row = session.scalars(select(ApiKey).where(ApiKey.prefix == principal.key)).one()
    # least() passes over null: a key without an end lasts longer than any session.
    ends = session.scalars(select(func.least(func.now() + LASTS, row.expires_at))).one()
    session.add(BrowserSession(token_sha256=_sha256(token), key_id=row.id, expires_at=ends))
    session.flush()
    return SignedIn(token, principal, ends)


def authenticate(session: Session, token: str) -> Principal:
    """The principal of the key that the session began with, as that key is now. Raises Unauthenticated."""
    key = session.execute(_BY_TOKEN, {"sha256": _sha256(token)}).first()
    if key is None:
        raise Unauthenticated
    return keys.use(session, key)


def end(session: Session, token: str) -> None:
    """Sign out; nothing when it is over already."""
    session.execute(delete(BrowserSession).where(BrowserSession.token_sha256 == _sha256(token)))


def csrf_token(token: str) -> str:
    """What a page of this session sends with whatever changes something; another site cannot read it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
