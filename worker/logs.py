"""Structured logs: one JSON object a line on stderr, with what is bound (job, attempt, loop) in every line."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_BOUND: ContextVar[dict[str, str]] = ContextVar("bound", default={})  # noqa: B039 — replaced, never changed


class Lines(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, what is bound, `extra={"data": {...}}`, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_BOUND.get(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


def set_up(level: int = logging.INFO) -> None:
    """Send everything that this process logs to stderr, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """Every line logged inside carries these."""
    token = _BOUND.set(_BOUND.get() | {name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        _BOUND.reset(token)
