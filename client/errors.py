"""What can go wrong for a caller, one class for each problem code of the service.

ClientError
├── ServiceAway         nobody answers, or the connection broke and did not come back
├── BadInput            refused before anything was sent: an unreadable file, an id that fits several
├── BadDownload         the bytes that came are not those that were named
├── JobFailed           the job that was waited for failed: reason, detail, hint, log_tail
├── JobCancelled        … was cancelled
├── WaitTimeout         … is not final after `timeout` seconds
└── ApiError            the service said no: status, code, errors, request_id
    └── one class a code, below
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple


class ClientError(Exception):
    """Base of everything that this package raises on purpose. `str(error)` is for a person to read."""

    exit_code: ClassVar[int] = 2


class ServiceAway(ClientError):
    """Nobody answers at the service's address."""

    exit_code = 4


class BadInput(ClientError):
    """What was asked for cannot be sent as it is."""


class BadDownload(ClientError):
    """The bytes that came do not have the sha256 by which they were asked for."""

    exit_code = 4


class JobFailed(ClientError):
    """A job ended in failure. `reason` is a word of the service, `hint` what to do, `log_tail` its last output."""

    exit_code = 1

    def __init__(self, job: str, reason: str, detail: str = "", hint: str = "", log_tail: str = "") -> None:
        self.job, self.reason, self.detail, self.hint, self.log_tail = job, reason, detail, hint, log_tail
        lines = [f"job {job} failed: {reason}" + (f": {detail}" if detail else "")]
        if hint:
            lines.append(f"  hint: {hint}")
        super().__init__("\n".join(lines))


class JobCancelled(ClientError):
    """A job was cancelled: by whom and why, as far as the service knows."""

    exit_code = 1

    def __init__(self, job: str, reason: str = "", detail: str = "") -> None:
        self.job, self.reason, self.detail = job, reason, detail
        why = ": ".join(part for part in (reason, detail) if part)
        super().__init__(f"job {job} was cancelled" + (f" ({why})" if why and why != "cancelled" else ""))


class WaitTimeout(ClientError):
    """A job is not final after the time that the caller gave it; it goes on."""

    exit_code = 1


class FieldError(NamedTuple):
    """One wrong field of what was sent. `pointer` is a JSON pointer into the body."""

    pointer: str
    message: str
    got: Any = None
    hint: str | None = None


class ApiError(ClientError):
    """A problem+json answer. `extra` holds the members that only some codes have."""

    code: str = "internal"

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or self.code)
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or "")
        self.request_id = problem.get("request_id")
        self.errors = [_field_error(item) for item in problem.get("errors") or []]
        self.extra = {key: value for key, value in problem.items() if key not in _STANDARD}
        super().__init__(self._message())

    def _message(self) -> str:
        # With errors the detail only says them once more, in one line.
        head = self.title if self.errors else self.detail
        lines = [head or self.detail or self.title or f"the service answered {self.status}"]
        for error in self.errors:
            got = "" if error.got is None else f" (got {_short(error.got)})"
            lines.append(f"  {error.pointer or '(whole body)'}: {error.message}{got}")
            if error.hint:
                lines.append(f"    hint: {error.hint}")
        lines += [f"  {key}: {_short(value)}" for key, value in self.extra.items() if value not in (None, [], "")]
        if self.status >= 500 and self.request_id:
            lines.append(f"  request id: {self.request_id}")
        return "\n".join(lines)


_STANDARD = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


def _field_error(item: Mapping[str, Any]) -> FieldError:
    return FieldError(str(item.get("pointer", "")), str(item.get("message", "")), item.get("got"), item.get("hint"))


def _short(value: Any) -> str:
    text = ", ".join(str(part) for part in value) if isinstance(value, list) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


class InvalidSpec(ApiError):
    code = "invalid_spec"


class Infeasible(ApiError):
    code = "infeasible"


class UnknownReference(ApiError):
    code = "unknown_reference"


class Incompatible(ApiError):
    code = "incompatible"


class IdempotencyMismatch(ApiError):
    code = "idempotency_mismatch"


class IdempotencyInProgress(ApiError):
    code = "idempotency_in_progress"


class BadRequest(ApiError):
    code = "bad_request"


class BadCursor(ApiError):
    code = "bad_cursor"


class BadFilter(ApiError):
    code = "bad_filter"


class MalformedJson(ApiError):
    code = "malformed_json"


class Unauthenticated(ApiError):
    code = "unauthenticated"
    exit_code = 3


class Forbidden(ApiError):
    code = "forbidden"
    exit_code = 3


class NotFound(ApiError):
    code = "not_found"


class MethodNotAllowed(ApiError):
    code = "method_not_allowed"


class NotAcceptable(ApiError):
    code = "not_acceptable"


class UnsupportedMediaType(ApiError):
    code = "unsupported_media_type"


class IllegalMove(ApiError):
    code = "illegal_move"


class InUse(ApiError):
    code = "in_use"


class AlreadyExists(ApiError):
    code = "already_exists"


class CountChanged(ApiError):
    code = "count_changed"


class Gone(ApiError):
    code = "gone"


class PreconditionFailed(ApiError):
    code = "precondition_failed"


class PreconditionRequired(ApiError):
    code = "precondition_required"


class TooLarge(ApiError):
    code = "too_large"


class RangeNotSatisfiable(ApiError):
    code = "range_not_satisfiable"


class QuotaExceeded(ApiError):
    code = "quota_exceeded"


class RateLimited(ApiError):
    code = "rate_limited"
    exit_code = 4


class TooManyStreams(ApiError):
    code = "too_many_streams"
    exit_code = 4


class DiskFull(ApiError):
    code = "disk_full"
    exit_code = 4


class Unavailable(ApiError):
    code = "unavailable"
    exit_code = 4


class Internal(ApiError):
    code = "internal"
    exit_code = 4


_BY_CODE: dict[str, type[ApiError]] = {kind.code: kind for kind in ApiError.__subclasses__()}


def api_error(status: int, problem: Mapping[str, Any]) -> ApiError:
    """The error of a problem's code; a plain ApiError for a code that this client does not know yet."""
    known = _BY_CODE.get(str(problem.get("code")))
    if known is None and status >= 500:
        known = Internal
    return (known or ApiError)(status, problem)
