"""Jobs written for programs of others."""

from pathlib import Path
from typing import Annotated

import typer

from client.api import Client
from client.commands.jobs import JobsArgument
from client.errors import BadInput
from client.exports.mlflow import Tracking
from client.exports.runs import each, read_run
from client.exports.tensorboard import write_events
from client.job import Job
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer

export = typer.Typer(help="Write jobs for TensorBoard and MLflow.", no_args_is_help=True)


@export.command()
def tensorboard(
    jobs: JobsArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Each job gets a folder of its own below it.")],
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Write curves, final values, settings and attention pictures as files of TensorBoard; again, they are replaced."""
    with Client(url) as lab:
        try:
            folders = [str(write_events(read_run(job), out)) for job in _jobs(lab, jobs)]
        except ImportError as error:
            raise BadInput(str(error)) from error
    answer(folders, lambda: "\n".join(folders), as_json=json, ids=folders if quiet else None)


@export.command()
def mlflow(
    jobs: JobsArgument,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The MLflow server.", envvar="MLFLOW_TRACKING_URI")],
    experiment: Annotated[str, typer.Option(metavar="NAME", help="MLflow's experiment; made when missing.")] = "cmac",
    artifacts: Annotated[
        bool, typer.Option("--artifacts/--no-artifacts", help="Whether their files go there too.")
    ] = True,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Make runs of an MLflow server out of jobs; said again, it brings the same runs up to date."""
    with Client(url) as lab, Tracking(to) as tracking:
        made = [(job, tracking.export(read_run(job), experiment, files=artifacts)) for job in _jobs(lab, jobs)]
        pages = [tracking.page(experiment, run) for _, run in made]
    rows = [{"job": job.id, "run": run, "url": page} for (job, run), page in zip(made, pages, strict=True)]
    answer(rows, lambda: "\n".join(pages), as_json=json, ids=[run for _, run in made] if quiet else None)


def _jobs(lab: Client, ids: list[str]) -> list[Job]:
    """The jobs of these ids; of experiments all of theirs."""
    return [job for one in ids for job in each(lab.find(one))]
