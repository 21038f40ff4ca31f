"""Tables and figures of the paper from the command line: the spec, and what a dry run says of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from client import tables
from client.api import Client
from client.corpus import CLIPS, pack_generated
from client.errors import BadInput
from client.progress import watch
from client.specfiles import Spec, setting
from client.terminal import notes
from cmac_core.specs.experiment import GENERATED

_LISTED = 60  # jobs of a dry run; --json has all of them


def recipe_spec(recipe: str, seeds: str | None, settings: Sequence[str], **fields: str | None) -> Spec:
    """The experiment. `settings` are fields as `a.b=VALUE`. Raises BadInput."""
    spec: Spec = {"kind": "experiment", "name": recipe, "recipe": recipe}
    spec |= {name: value for name, value in fields.items() if value is not None}
    spec |= {"seeds": _seeds(seeds)} if seeds is not None else {}
    return spec | ({"set": dict(setting(text) for text in settings)} if settings else {})


def ensure_corpus(lab: Client, spec: Spec, *, quiet: bool) -> None:
    """At scale small without a dataset the generated corpus serves: pack it when it is not there, and wait."""
    if spec.get("scale") != "small" or "dataset" in spec:
        return
    if any(row["name"] == GENERATED for row in lab.datasets()):
        return
    notes().print(f"There is no dataset {GENERATED} yet: packing a generated corpus of {CLIPS} clips first")
    job = lab.submit(pack_generated(CLIPS))
    watch([job], quiet=quiet)
    job.checked_result()


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--seeds {text}: write them as 0,1,2") from error


def dry_run_page(told: Mapping[str, Any]) -> RenderableType:
    """Every job with its steps and GPU-hours, the sum, and what would be refused."""
    return Group(
        _jobs(told["jobs"]),
        tables.facts(_sums(told)),
        *(f"[yellow]warning:[/] {escape(text)}" for text in told["warnings"]),
        *(_problem(problem) for problem in told["problems"]),
    )


def _jobs(jobs: Sequence[Mapping[str, Any]]) -> RenderableType:
    columns = ("cell", "kind", "dataset", ("clips", "right"), ("steps per epoch", "right"), ("steps", "right"))
    made = tables.table(*columns, ("GPU-hours", "right"), "waits for")
    for job in jobs[:_LISTED]:
        numbers = [f"{job[name]:,}" if job[name] is not None else "" for name in ("clips", "steps_per_epoch", "steps")]
        hours = tables.number(job["gpu_hours"]) if job["gpu_hours"] is not None else "unknown"
        shared = f" (= {len(job['shared_with'])} more)" if job["shared_with"] else ""
        name = f"{job['cell']}{shared}"
        made.add_row(escape(name), job["kind"], job["dataset"], *numbers, hours, escape(job["waits_for"] or ""))
    if len(jobs) > _LISTED:
        made.add_row(f"... and {len(jobs) - _LISTED} more (--json lists all)")
    return made


def _sums(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    estimate = told["estimate"]
    hours = estimate["gpu_hours"]
    kinds = Counter(job["kind"] for job in told["jobs"])
    return [
        ("jobs", f"{told['job_count']} ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"),
        ("pretrainings", told["pretrainings"]),
        ("cells", told["cells"]),
        ("GPU-hours", None if hours is None else f"{hours['expected']:.4g} (basis: {estimate['basis']})"),
        ("without estimate", estimate["jobs_without_estimate"] or None),
        ("cost", tables.cell(estimate["cost"])),
        ("assumed", "; ".join(told["assumptions"])),
        ("could be submitted", "yes" if told["submittable"] else "no, see below"),
    ]


def _problem(problem: Mapping[str, Any]) -> str:
    hint = f" ({problem['hint']})" if problem["hint"] else ""
    return escape(f"{problem['pointer'] or '(whole body)'}: {problem['message']}{hint}")
