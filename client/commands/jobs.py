"""Submitting jobs and following them."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from client import tables
from client.api import Client
from client.commands.filters import (
    Datasets,
    Kinds,
    Labels,
    Name,
    Owners,
    Projects,
    States,
    filters,
)
from client.commands.recipes import dry_run_page, ensure_corpus, recipe_spec
from client.completion import (
    complete_datasets,
    complete_jobs,
    complete_jobs_and_experiments,
    complete_presets,
    complete_recipes,
)
from client.durations import seconds
from client.errors import ApiError, BadInput, ClientError
from client.experiment import Experiment, ExperimentResult
from client.job import Job
from client.progress import watch
from client.results import Result
from client.specfiles import Spec, in_order, put, read_specs, references, resolved
from client.standing import clock, progress_text, standing
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, console, notes

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id or the unique start of one.", autocompletion=complete_jobs)
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...", help="Ids or unique starts of them.", autocompletion=complete_jobs_and_experiments
    ),
]


def submit(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE...]", help="JSON specs; - is standard input.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A table or figure of the paper: table-1 to table-6, figure-4, figure-5, all.",
            autocompletion=complete_recipes,
        ),
    ] = None,
    scale: Annotated[str | None, typer.Option(help="Of a recipe: paper, or small for two CPU cores.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Of a recipe: the method's variant; default: paper, at scale small mutual.",
            autocompletion=complete_presets,
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="Of a recipe: every row runs once for each.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Of a recipe: one dataset for every part. Small: a generated corpus, if none.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=VALUE", help="Change a field of every spec.")
    ] = None,
    after: Annotated[list[str] | None, typer.Option(metavar="JOB", help="Wait for this job's success first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; store nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the jobs to their end.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Queue jobs, or a table of the paper. Specs may name each other: {"job": "$name"} is the job of that name."""
    _check_options(recipe, files, scale=scale, preset=preset, seeds=seeds, dataset=dataset)
    with Client(url) as lab:
        if recipe is not None:
            specs = [recipe_spec(recipe, seeds, settings or [], scale=scale, preset=preset, dataset=dataset)]
        else:
            specs = in_order(read_specs(files or [], settings or []))
        for spec in specs:
            for job in after or []:
                edges = [*(spec.get("queue", {}).get("after") or []), {"job": lab.job(job).id}]
                put(spec, "queue.after", edges)
        if dry_run:
            _dry_run(lab, specs, json)
            return
        if recipe is not None:
            ensure_corpus(lab, specs[0], quiet=quiet or json)
        jobs = submit_all(lab, specs)
        if wait:
            finish(jobs, as_json=json, quiet=quiet)
            return
        rows = [job.row for job in jobs]
        answer(rows, lambda: tables.jobs_table(rows), as_json=json, ids=[job.id for job in jobs] if quiet else None)
        if not (json or quiet):
            notes().print(f"Follow: cmac wait {' '.join(job.id[:8] for job in jobs)}", style="dim")


def _check_options(recipe: str | None, files: Sequence[str] | None, **options: str | None) -> None:
    """Files or a recipe. Raises BadInput."""
    given = [name for name, value in options.items() if value is not None]
    if recipe is None and given:
        raise BadInput(f"--{given[0]} goes with --recipe; of spec files change fields by --set {given[0]}=...")
    if recipe is not None and files:
        raise BadInput(f"--recipe {recipe} makes its own specs; leave out {files[0]}, or --recipe")
    if recipe is None and not files:
        raise BadInput("give spec files, or --recipe table-1 (a table or figure of the paper)")


def submit_all(lab: Client, specs: Iterable[Spec]) -> list[Job]:
    """Submit specs in their order, "$name" replaced by the ids of those before; a refusal says what stands."""
    jobs: list[Job] = []
    ids: dict[str, str] = {}
    for spec in specs:
        try:
            jobs.append(lab.submit(resolved(spec, ids)))
        except ApiError:
            if jobs:
                known = " ".join(job.id[:8] for job in jobs)
                notes().print(f"Submitted before the refused one, and they stay: {known}", style="yellow")
            raise
        ids[str(spec.get("name") or "")] = jobs[-1].id
    return jobs


def _dry_run(lab: Client, specs: Sequence[Spec], as_json: bool) -> None:
    for spec in specs:
        if references(spec):
            raise BadInput(f'--dry-run cannot look at {spec.get("name")!r}: its {{"job": "$..."}} does not exist yet')
    answers = [lab.dry_run(spec) for spec in specs]
    answer(answers, lambda: Group(*map(_estimate, answers)), as_json=as_json)


def _estimate(told: dict[str, Any]) -> RenderableType:
    if "job_count" in told:
        return dry_run_page(told)
    return tables.facts((name, tables.cell(value)) for name, value in told.items() if name != "spec")


def finish(jobs: Sequence[Job], *, as_json: bool = False, quiet: bool = False) -> None:
    """Watch jobs to their end and print what they found. Exit code 1 when one did not succeed."""
    follow(jobs, quiet=quiet or as_json)
    answers, failed = [], False
    for job in jobs:
        try:
            result = job.checked_result()
        except ClientError as error:
            failed = True
            result = job.result()
            notes().print(str(error), style="red", markup=False)
        answers.append(result.model_dump(mode="json"))
        if not (as_json or quiet):
            _print(job, result, failed)
    if as_json:
        answer(answers, str, as_json=True)
    if failed:
        raise typer.Exit(1)


def _print(job: Job, result: Result, failed: bool) -> None:
    """An experiment's table whatever became of it; of a job the values of a success."""
    if isinstance(result, ExperimentResult):
        console().print(tables.experiment_tables(result.model_dump()))
        for warning in result.warning_texts:
            notes().print(f"warning: {warning}", style="yellow", markup=False)
    elif result.values and not failed:
        console().print(tables.result_table(result, title=f"{job.name or job.kind} {job.id[:8]}"))


def follow(jobs: Sequence[Job], *, quiet: bool = False) -> None:
    """Watch jobs; Ctrl-C stops the watching alone and says so."""
    try:
        watch(jobs, quiet=quiet)
    except KeyboardInterrupt:
        ids = " ".join(job.id[:8] for job in jobs if not job.final)
        notes().print(f"\nNo longer watching; the jobs go on. Follow: cmac wait {ids}   Cancel: cmac cancel {ids}")
        raise typer.Exit(130) from None


def list_jobs(
    state: States = None,
    kind: Kinds = None,
    label: Labels = None,
    name: Name = None,
    owner: Owners = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    project: Projects = None,
    dataset: Datasets = None,
    checkpoint: Annotated[list[str] | None, typer.Option(help="The whole id of one that they evaluate.")] = None,
    node: Annotated[list[str] | None, typer.Option(help="Whole ids of machines that they run on.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Why they ended: oom, user_error, walltime, ...")] = None,
    since: Annotated[str | None, typer.Option(help="Submitted after, RFC 3339: 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Submitted before.")] = None,
    sort: Annotated[
        str, typer.Option(help="-submitted_at (newest first), submitted_at, -ended_at, ended_at, priority.")
    ] = "-submitted_at",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 30,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """List jobs, newest first, with why the waiting ones wait."""
    wanted = filters(
        label, state=state, kind=kind, name=name, project=project, dataset=dataset, checkpoint=checkpoint, node=node,
        reason=reason, submitted_after=since, submitted_before=until, sort=sort,
    )  # fmt: skip
    with Client(url) as lab:
        owners = [*(owner or ()), *([lab.me()["user"]] if mine else ())]
        rows = [job.row for job in lab.jobs(limit, **wanted, owner=owners)]
    answer(rows, lambda: tables.jobs_table(rows), as_json=json, ids=[row["id"] for row in rows] if quiet else None)


def show(job: JobArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Show one job: where it stands, why it waits or ended, its times."""
    with Client(url) as lab:
        row = lab.job(job).row
    answer(row, lambda: tables.facts(_facts(row)), as_json=json, ids=[row["id"]] if quiet else None)


def _facts(row: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", row["id"]),
        ("kind", row["kind"]),
        ("name", row.get("name")),
        ("state", tables.state_text(str(row["state"]))),
        ("because of", ": ".join(str(row[key]) for key in ("reason", "detail") if row.get(key))),
        ("waits for", (row.get("waiting") or {}).get("text")),
        ("progress", progress_text(row.get("progress"))),
        *((name, row.get(name)) for name in ("owner", "submitted_at", "started_at", "ended_at", "epoch", "priority")),
        ("labels", tables.cell(row.get("labels") or None)),
        ("restarts", row.get("user_restarts")),
        ("walltime", clock(row["walltime_s"]) if row.get("walltime_s") else None),
    ]


def why(job: JobArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Say why a job waits, or why it ended as it did."""
    with Client(url) as lab:
        row = lab.job(job).row
    text = standing(row) or f"it is {row['state']}"
    answer({"state": row["state"], "waiting": row.get("waiting"), "text": text}, lambda: text, as_json=json)


def wait(jobs: JobsArgument, json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """Follow jobs to their end with rate, ETA and losses; the exit code says whether all succeeded."""
    with Client(url) as lab:
        finish([lab.find(job) for job in jobs], as_json=json, quiet=quiet)


def cancel(
    jobs: JobsArgument,
    force: Annotated[bool, typer.Option("--force", help="At once, without saving.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even for several jobs.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Ask jobs, or all jobs of experiments, to save and stop."""
    with Client(url) as lab:
        found = [lab.find(job) for job in jobs]
        if len(found) > 1 and not yes and notes().is_terminal:
            typer.confirm(f"Cancel {len(found)} jobs?", abort=True, err=True)
        rows = [job.cancel(force=force).row for job in found]
    answer(rows, lambda: tables.jobs_table(rows), as_json=json, ids=[row["id"] for row in rows] if quiet else None)


def delete(
    jobs: JobsArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Delete jobs that are over with all that they left: results, checkpoints, curves, logs."""
    with Client(url) as lab:
        found = [lab.job(job) for job in jobs]
        if not yes and notes().is_terminal:
            typer.confirm(f"Delete {len(found)} jobs with all that they left?", abort=True, err=True)
        for job in found:
            job.delete()
    ids = [job.id for job in found]
    answer({"deleted": ids}, lambda: "\n".join(f"deleted {job}" for job in ids), as_json=json)


def retry(
    jobs: JobsArgument,
    row: Annotated[list[str] | None, typer.Option(help="Of an experiment: only this row (may be repeated).")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="From the start, not from the last checkpoint.")] = False,
    walltime: Annotated[str | None, typer.Option(help="Running time that it may have: 90s, 30m, 48h or 2d.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow them to their end.")] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Run jobs that failed or were cancelled again; of an experiment only those, what succeeded stays."""
    walltime_s = None if walltime is None else seconds(walltime)
    with Client(url) as lab:
        made = [lab.find(job).retry(rows=row or [], fresh=fresh, walltime_s=walltime_s) for job in jobs]
        if wait:
            finish(made, as_json=json, quiet=quiet)
            return
    rows = [job.row for job in made]
    answer(rows, lambda: tables.jobs_table(rows), as_json=json, ids=[job.id for job in made] if quiet else None)
    for job in made if not (json or quiet) else ():
        if isinstance(job, Experiment):
            count = len(job.row["retried"])
            notes().print(f"{count} jobs run again" if count else "nothing of it had failed; nothing runs again")
        notes().print(f"Follow: cmac wait {job.id[:8]}", style="dim")
