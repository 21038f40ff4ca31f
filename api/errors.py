"""Problems that only HTTP knows; the others are `store.errors`.

Problem
├── MalformedJson          malformed_json
├── TooLarge               too_large
├── UnsupportedMediaType   unsupported_media_type
├── NotAcceptable          not_acceptable
├── RangeNotSatisfiable    range_not_satisfiable
├── PreconditionFailed     precondition_failed
├── PreconditionRequired   precondition_required
├── RateLimited            rate_limited
└── TooManyStreams         too_many_streams
"""

from store.errors import Problem


class MalformedJson(Problem):
    """The body is not JSON. Members: line, column."""

    code = "malformed_json"


class TooLarge(Problem):
    """The body is too large. Members: limit."""

    code = "too_large"


class UnsupportedMediaType(Problem):
    """The body must be application/json. Members: supported."""

    code = "unsupported_media_type"


class NotAcceptable(Problem):
    """None of the accepted media types can be given. Members: supported."""

    code = "not_acceptable"


class RangeNotSatisfiable(Problem):
    """The range lies outside of the file. Members: size."""

    code = "range_not_satisfiable"


class PreconditionFailed(Problem):
    """The row has changed since it was read. Members: etag, of the row now."""

    code = "precondition_failed"


class PreconditionRequired(Problem):
    """A change needs If-Match, so that nobody overwrites what they have not seen."""

    code = "precondition_required"


class RateLimited(Problem):
    """Too many requests with this key; wait a moment. Members: retry_after_s."""

    code = "rate_limited"


class TooManyStreams(Problem):
    """Too many streams are open; close one first. Members: limit."""

    code = "too_many_streams"
