"""Words that a shell may complete: from the service where one answers at once, and nothing otherwise."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import httpx2
import typer

from client.api import Client
from client.errors import ClientError
from client.job import FINAL
from cmac_core.specs import KINDS
from cmac_core.specs.experiment import Recipe
from cmac_core.specs.presets import PRESETS

Completed = Iterator[tuple[str, str]]
PATIENCE = httpx2.Timeout(1.0, connect=0.3)  # somebody waits for the Tab key
MOST = 50
STATES = ("queued", "blocked", "held", "paused", "scheduled", "running", "stopping", *FINAL)
ROLES = ("viewer", "submitter", "operator", "admin")


def complete_jobs(ctx: typer.Context, incomplete: str) -> Completed:
    """The newest jobs by id, told by name and state."""
    return _ids(ctx, incomplete, lambda lab: (job.row for job in lab.jobs(MOST)))


def complete_experiments(ctx: typer.Context, incomplete: str) -> Completed:
    """The newest experiments by id."""
    return _ids(ctx, incomplete, lambda lab: (one.row for one in lab.experiments(MOST)))


def complete_jobs_and_experiments(ctx: typer.Context, incomplete: str) -> Completed:
    """Both, jobs first."""
    yield from complete_jobs(ctx, incomplete)
    yield from complete_experiments(ctx, incomplete)


def complete_datasets(ctx: typer.Context, incomplete: str) -> Completed:
    """Datasets as NAME@VERSION."""
    for row in _asked(ctx, lambda lab: lab.datasets()):
        reference = f"{row['name']}@{row['version']}"
        if reference.startswith(incomplete):
            yield reference, f"{row['clips']} clips"


def complete_nodes(ctx: typer.Context, incomplete: str) -> Completed:
    """Machines by name."""
    for row in _asked(ctx, lambda lab: lab.nodes()):
        if str(row["name"]).startswith(incomplete):
            yield str(row["name"]), str(row["state"])


def complete_checkpoints(ctx: typer.Context, incomplete: str) -> Completed:
    """The newest checkpoints by id."""
    for row in _asked(ctx, lambda lab: lab.checkpoints(MOST)):
        if str(row["id"]).startswith(incomplete):
            yield str(row["id"])[:8], f"step {row['step']} of {str(row['job_id'])[:8]}"


def complete_states(incomplete: str) -> list[str]:
    """States of a job."""
    return [state for state in STATES if state.startswith(incomplete)]


def complete_kinds(incomplete: str) -> list[str]:
    """Kinds of jobs."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def complete_recipes(incomplete: str) -> list[str]:
    """Tables and figures of the paper."""
    return [recipe for recipe in get_args(Recipe) if recipe.startswith(incomplete)]


def complete_presets(incomplete: str) -> list[str]:
    """Variants of the method."""
    return [preset for preset in PRESETS if preset.startswith(incomplete)]


def complete_roles(incomplete: str) -> list[str]:
    """What a user may be."""
    return [role for role in ROLES if role.startswith(incomplete)]


def _ids(ctx: typer.Context, incomplete: str, rows: Callable[[Client], Iterable[dict[str, Any]]]) -> Completed:
    for row in _asked(ctx, rows):
        if str(row["id"]).startswith(incomplete.lower()):
            yield str(row["id"])[:8], f"{row['name'] or row['kind']}, {row['state']}"


def _asked(ctx: typer.Context, rows: Callable[[Client], Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the service; none when it is away, slow or refuses: a Tab key has no place to say so."""
    try:
        with Client(ctx.params.get("url"), retries=0, timeout=PATIENCE) as lab:
            return list(rows(lab))
    except (ClientError, OSError):
        return []
