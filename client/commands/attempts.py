"""A job's tries."""

from collections.abc import Mapping
from typing import Any

from client import tables
from client.api import Client
from client.commands.jobs import JobArgument
from client.terminal import JsonFlag, UrlOption, answer


def attempts(job: JobArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """List a job's tries: on which machines and devices, how long, and how each ended."""
    with Client(url) as lab:
        rows = lab.job(job).attempts()
    made = tables.table(("epoch", "right"), "state", "machines", "devices", ("began", "right"), "why it ended")
    for row in rows:
        machines = ", ".join(str(part["node"]) for part in row["parts"])
        began = tables.age(row["running_at"] or row["created_at"])
        made.add_row(str(row["epoch"]), tables.state_text(str(row["state"])), machines, _devices(row), began, _why(row))
    answer(rows, lambda: made if rows else "it was not placed on a machine yet", as_json=json)


def _devices(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{device['kind']} {device['index']}" for device in row["devices"])


def _why(row: Mapping[str, Any]) -> str:
    return ": ".join(str(row[key]) for key in ("reason", "detail") if row.get(key))
