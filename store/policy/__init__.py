"""Who runs next and where: the whole policy, over plain values (QUEUE 4). No database and no clock of its own.

Tiers first; within one, who has used less of late (the less so the longer a job waits); then age. All devices of a job
at once, on one node or in equal parts on nodes that are alike. The first job that does not fit gets a reservation, one
for each choice of nodes, and later ones may only start where they cannot delay it (EASY). Where its tier is higher, the
fewest of lower ones save and leave for it.
"""

from store.policy.order import Line
from store.policy.plan import plan
from store.policy.values import (
    ANYWHERE,
    DAY,
    HOUR,
    LEAVING_S,
    PATIENCE,
    WEIGHTS,
    Free,
    Limit,
    Limits,
    Patience,
    Pending,
    Placement,
    Plan,
    Running,
    Spot,
    Usage,
    Waiting,
    Wants,
)

__all__ = [
    "ANYWHERE",
    "DAY",
    "HOUR",
    "LEAVING_S",
    "PATIENCE",
    "WEIGHTS",
    "Free",
    "Limit",
    "Limits",
    "Line",
    "Patience",
    "Pending",
    "Placement",
    "Plan",
    "Running",
    "Spot",
    "Usage",
    "Waiting",
    "Wants",
    "plan",
]
