"""What was lost is found: each repair is one guarded transaction, safe to run twice (QUEUE 5)."""

from typing import NamedTuple


class Repairs(NamedTuple):
    """What one pass did: name of the repair -> how often."""

    leading: bool
    done: dict[str, int]


def run_pass(holder: str) -> Repairs:
    """One pass, if `holder` leads. Each repair has a transaction of its own."""
    raise NotImplementedError
