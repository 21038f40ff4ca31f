"""What can go wrong, by the codes of API 7. The docstring is the message unless a better one is given.

    Problem
    ├── InvalidSpec        invalid_spec       \\
    ├── Infeasible         infeasible          | carry `errors`, a list of FieldProblem
    ├── UnknownReference   unknown_reference   |
    ├── Incompatible       incompatible       /
    ├── NotFound           not_found
    ├── IllegalMove        illegal_move
    ├── AlreadyExists      already_exists
    ├── InUse              in_use
    ├── Forbidden          forbidden
    ├── Unauthenticated    unauthenticated
    ├── QuotaExceeded      quota_exceeded
    ├── IdempotencyMismatch / IdempotencyInProgress
    ├── BadRequest         bad_request
    │   ├── BadCursor      bad_cursor
    │   └── BadFilter      bad_filter
    ├── DiskFull           disk_full
    └── Unavailable        unavailable
    Fenced, AlreadyRecorded, AlreadyAdopted    a supervisor's: no HTTP answer
    BrokerAway                                 the relay's
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from cmac_core.specs.problems import FieldProblem


class Problem(Exception):
    """Something is wrong."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.members = members  # the extra members of API 7
        super().__init__(self.detail)


class SpecProblem(Problem):
    """The spec cannot be run."""

    def __init__(self, errors: Sequence[FieldProblem], detail: str | None = None, **members: Any) -> None:
        self.errors = list(errors)
        text = "; ".join(f"{error.pointer or '/'}: {error.message}" for error in self.errors)
        super().__init__(detail or text, **members)


class InvalidSpec(SpecProblem):
    """The spec does not validate."""

    code = "invalid_spec"


class Infeasible(SpecProblem):
    """No known machine could ever run this. Members: needs, largest."""

    code = "infeasible"


class UnknownReference(SpecProblem):
    """The spec names something that is not there."""

    code = "unknown_reference"


class Incompatible(SpecProblem):
    """The spec joins things that do not go together."""

    code = "incompatible"


class NotFound(Problem):
    """There is nothing with this id."""

    code = "not_found"


class IllegalMove(Problem):
    """The job's state does not allow this. Members: state, allowed."""

    code = "illegal_move"


class AlreadyExists(Problem):
    """There is one of this name already. Members: existing."""

    code = "already_exists"


class InUse(Problem):
    """Something else needs this. Members: by."""

    code = "in_use"


class Gone(Problem):
    """It was removed, by retention or by a person. Members: removed_at."""

    code = "gone"


class Forbidden(Problem):
    """You may see this, not do it. Members: needs_role, needs_scope (of the key)."""

    code = "forbidden"


class Unauthenticated(Problem):
    """A valid API key is needed: Authorization: Bearer cmac_..."""

    code = "unauthenticated"


class QuotaExceeded(Problem):
    """A limit is reached. Members: limit, used."""

    code = "quota_exceeded"


class IdempotencyMismatch(Problem):
    """This Idempotency-Key was used for another request; take a new key for a new request."""

    code = "idempotency_mismatch"


class IdempotencyInProgress(Problem):
    """The first request with this Idempotency-Key is still at work; try again in a moment."""

    code = "idempotency_in_progress"


class BadRequest(Problem):
    """The request is not understood. Members: allowed."""

    code = "bad_request"


class BadCursor(BadRequest):
    """The cursor does not belong to this list and these filters; start again without one."""

    code = "bad_cursor"


class BadFilter(BadRequest):
    """There is no such filter or value. Members: allowed."""

    code = "bad_filter"


class DiskFull(Problem):
    """There is not enough space. Members: free, needed."""

    code = "disk_full"


class Unavailable(Problem):
    """The database is away or not migrated; try again soon."""

    code = "unavailable"


class Fenced(Exception):
    """This attempt was given up for lost, or has ended: kill, leave, write nothing."""


class AlreadyAdopted(Fenced):
    """Another supervisor has this part."""


class AlreadyRecorded(Exception):
    """The last commit did arrive: go on from `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"events are recorded up to byte {offset}")
        self.offset = offset


class BrokerAway(Exception):
    """The broker does not answer; the message stays in the outbox."""
