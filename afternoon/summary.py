"""What the afternoon came to: waits and GPU-seconds by user, and how much of the machines was used."""

import statistics
from itertools import groupby

from afternoon.lab import NODES, PROJECTS
from afternoon.records import Records


def summary(records: Records) -> list[str]:
    """A row a user, and the lab's own figures as the last one."""
    over = max(lease.released_at for lease in records.history.leases if lease.released_at is not None)
    used, waits = records.used(over), _waits(records)
    rows = [f"{'user':6}{'project':9}{'jobs':>5}{'median wait s':>15}{'longest':>9}{'GPU-seconds':>13}{'moved':>7}"]
    for user, project in PROJECTS.items():
        mine = [job for job in records.history.jobs if job.owner == user]
        waited = [waits[job.name] for job in mine]
        moved = sum(job.epoch - 1 for job in mine)
        numbers = f"{statistics.median(waited):>15.1f}{max(waited):>9.1f}{used[project, user]:>13.0f}{moved:>7}"
        rows.append(f"{user:6}{project:9}{len(mine):>5}{numbers}")
    first = min(lease.leased_at for lease in records.history.leases)
    span = (over - first).total_seconds()
    gpus = len(records.gpus)
    share = 100 * sum(used.values()) / (gpus * span)
    rows.append(f"{gpus} GPUs on {len(NODES)} machines, {span:.0f} s: {share:.0f} % of their time was leased")
    return rows


def _waits(records: Records) -> dict[str, float]:
    """Seconds from submission to the first devices, by job."""
    placed = groupby(sorted(records.placed(), key=lambda one: one.job.name), key=lambda one: one.job.name)
    return {name: min((one.at - one.job.submitted_at).total_seconds() for one in some) for name, some in placed}
