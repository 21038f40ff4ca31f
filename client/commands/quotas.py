"""Limits and shares of users and projects."""

from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.terminal import JsonFlag, UrlOption, answer

quota = typer.Typer(help="Limits and shares of users and projects.", no_args_is_help=True)

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="user:NAME or project:NAME.")]


@quota.command("set")
def put_quota(
    subject: Subject,
    max_gpus: Annotated[int | None, typer.Option(help="GPUs held at once; default: no limit.", min=0)] = None,
    max_running: Annotated[int | None, typer.Option(help="Jobs with GPUs at once; default: no limit.", min=0)] = None,
    max_queued: Annotated[int | None, typer.Option(help="Jobs that wait; default: the lab's.", min=0)] = None,
    share: Annotated[float, typer.Option(help="Weight in fair share.")] = 1.0,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Set all limits of a user or project (admins)."""
    with Client(url) as lab:
        row = lab.put_quota(subject, max_gpus=max_gpus, max_running=max_running, max_queued=max_queued, share=share)
    answer(row, lambda: tables.quotas_table([row]), as_json=json)


@quota.command("list")
def list_quotas(json: JsonFlag = False, url: UrlOption = None) -> None:
    """List limits and shares."""
    with Client(url) as lab:
        rows = list(lab.quotas())
    answer(rows, lambda: tables.quotas_table(rows) if rows else "nobody has limits", as_json=json)


@quota.command()
def remove(subject: Subject, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Back to no limits and a share of 1 (admins)."""
    with Client(url) as lab:
        lab.remove_quota(subject)
    answer({"subject": subject, "removed": True}, lambda: f"{subject} has no limits now", as_json=json)
