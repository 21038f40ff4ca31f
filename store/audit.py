"""The trail: who wrote what, when. Rows are only added."""

from typing import Any

from sqlalchemy.orm import Session

from store.keys import Principal
from store.tables import Audit


def write(
    session: Session,
    principal: Principal,
    action: str,
    target: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    ip: str | None = None,
    request_id: str | None = None,
) -> None:
    """One row; `action` like "job.submit", `target` an id or a name. Never keys, never whole environments."""
    row = Audit(principal=principal.user, action=action, target=target, before=before, after=after)
    row.ip, row.request_id = ip, request_id
    session.add(row)
