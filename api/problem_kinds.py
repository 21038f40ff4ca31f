"""Every code of problem+json: its status, its title, and what a reader can do about it (API 7)."""

from typing import NamedTuple


class ProblemKind(NamedTuple):
    """What `/problems/<code>` explains."""

    status: int
    title: str
    explanation: str


PROBLEM_KINDS: dict[str, ProblemKind] = {
    "invalid_spec": ProblemKind(
        422,
        "The body does not validate",
        "`errors` lists every wrong field with a JSON pointer, what was expected and, for a misspelt name, a guess. "
        "Mend them all and send the body again; nothing was stored.",
    ),
    "infeasible": ProblemKind(
        422,
        "No known machine could ever run this",
        "The job asks for more than any node has, free or not. `needs` is what it asks, `largest` what there is. "
        "Ask for less under `resources`, or start a worker on a larger machine first.",
    ),
    "unknown_reference": ProblemKind(
        422,
        "The spec names something that is not there",
        "A dataset, checkpoint, job or root of the spec does not exist, or belongs to a project that you cannot see. "
        "GET /datasets, /checkpoints, /jobs and /roots list what there is.",
    ),
    "incompatible": ProblemKind(
        422,
        "The spec joins things that do not go together",
        "For example a dataset without sound for a kind that listens, or a checkpoint of another architecture. "
        "`errors` points at the field.",
    ),
    "idempotency_mismatch": ProblemKind(
        422,
        "This Idempotency-Key belongs to another request",
        "The key was used within the last 24 hours with another method, path or body. A new request takes a new key; "
        "a repeated one keeps its body.",
    ),
    "idempotency_in_progress": ProblemKind(
        409,
        "The first request with this Idempotency-Key is still at work",
        "Wait a moment and repeat the request: it then gets the first one's answer.",
    ),
    "bad_request": ProblemKind(
        400,
        "A query parameter or header is not understood",
        "`allowed` or `errors` name what would be. The path's parameters are listed in /docs.",
    ),
    "bad_cursor": ProblemKind(
        400,
        "The cursor does not fit this list",
        "A cursor goes with the path, filters and order that it was given for. Start again without one.",
    ),
    "bad_filter": ProblemKind(400, "No such filter or value", "`allowed` lists what there is."),
    "malformed_json": ProblemKind(
        400,
        "The body is not JSON as it should be",
        "`line` and `column` say where. Duplicate keys, NaN, Infinity, nesting deeper than 16 and NUL characters "
        "are refused too.",
    ),
    "unauthenticated": ProblemKind(
        401,
        "A valid API key is needed",
        "Send `Authorization: Bearer cmac_…`. The key is missing, unknown, expired or revoked; the service never "
        "says which. On the service's own machine the first key lies in $CMAC_HOME/admin.key.",
    ),
    "forbidden": ProblemKind(
        403,
        "You may see this, but not do it",
        "`needs_role` is the role that may: viewer < submitter < operator < admin; `needs_scope` the scope of a key.",
    ),
    "not_found": ProblemKind(
        404,
        "There is no such thing",
        "The id is unknown, or belongs to a project that you cannot see. Ids are whole uuids; the command line "
        "also takes their unique beginning.",
    ),
    "method_not_allowed": ProblemKind(
        405, "This path does not know this method", "The `Allow` header lists those that it knows."
    ),
    "not_acceptable": ProblemKind(406, "No such representation", "`supported` lists the media types there are."),
    "illegal_move": ProblemKind(
        409,
        "The job's state does not allow this",
        "`state` is the job's state, `allowed` the states it can still move to. A final job stays as it is; "
        "POST /jobs/{id}/retry makes a new one from it.",
    ),
    "in_use": ProblemKind(409, "Something else needs this", "`by` says what."),
    "already_exists": ProblemKind(409, "There is one of this name", "`existing` is the one that there is."),
    "count_changed": ProblemKind(409, "The number of matches has changed", "`found` is the number now."),
    "gone": ProblemKind(410, "It was removed", "Retention or a person removed it, at `removed_at`."),
    "precondition_failed": ProblemKind(412, "It has changed since you read it", "Read it again, then repeat."),
    "too_large": ProblemKind(
        413,
        "The body is too large",
        "`limit` is the most that is read, in bytes. Media never travel over this API: they are packed from a root.",
    ),
    "unsupported_media_type": ProblemKind(415, "The body must be JSON", "Send `Content-Type: application/json`."),
    "range_not_satisfiable": ProblemKind(416, "The range lies outside of the file", "`size` is its length, bytes."),
    "precondition_required": ProblemKind(428, "If-Match is needed", "Send the ETag of the row that you read."),
    "quota_exceeded": ProblemKind(
        429, "A limit is reached", "`limit` and `used` say which. Wait until jobs end, or cancel some."
    ),
    "rate_limited": ProblemKind(
        429,
        "Too many requests",
        "Wait `Retry-After` seconds. Follow a job by its event stream instead of asking often.",
    ),
    "too_many_streams": ProblemKind(429, "Too many streams are open", "Close one, then open the next."),
    "disk_full": ProblemKind(507, "There is not enough space", "`free` and `needed` are bytes."),
    "unavailable": ProblemKind(
        503,
        "The service cannot work right now",
        "The database is away or not migrated. The same request works once it is back; `Retry-After` says when to try.",
    ),
    "internal": ProblemKind(
        500,
        "The service made a mistake",
        "Nothing was stored. `request_id` finds the trace in the service's log: please hand it to the operator.",
    ),
}
