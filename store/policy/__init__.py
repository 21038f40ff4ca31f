"""Who runs next and where: the whole policy, over plain values (QUEUE 4). No database and no clock of its own.

Tiers first; within one, who has used less of late (the less so the longer a job waits); then age. All devices of a job
at once, on one node. The first job of a kind that does not fit gets a reservation, and later ones may only start where
they cannot delay it (EASY). Where its tier is higher, the fewest of lower ones save and leave for it.
"""

from store.policy.order import Line
from store.policy.plan import plan
from store.policy.values import (
    DAY,
    HOUR,
    LEAVING_S,
    WEIGHTS,
    Free,
    Limit,
    Limits,
    Pending,
    Placement,
    Plan,
    Running,
    Usage,
    Waiting,
)

__all__ = [
    "DAY",
    "HOUR",
    "LEAVING_S",
    "WEIGHTS",
    "Free",
    "Limit",
    "Limits",
    "Line",
    "Pending",
    "Placement",
    "Plan",
    "Running",
    "Usage",
    "Waiting",
    "plan",
]
