"""Spans of time as people write them."""

import re

from client.errors import BadInput

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def seconds(text: str) -> float:
    """Of `90`, `90s`, `30m`, `48h` or `2d`. Raises BadInput."""
    if not (found := _SPAN.fullmatch(text.strip().lower())):
        raise BadInput(f"{text!r} is no span of time; write 90s, 30m, 48h or 2d")
    return float(found[1]) * _UNITS[found[2]]
