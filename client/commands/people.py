"""Users and projects."""

from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.completion import complete_roles
from client.errors import BadInput
from client.terminal import JsonFlag, UrlOption, answer

project = typer.Typer(help="Projects: what jobs and datasets belong to.", no_args_is_help=True)
user = typer.Typer(help="People and services that have keys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument()]
Role = Annotated[str | None, typer.Option(help="viewer, submitter, operator or admin.", autocompletion=complete_roles)]


@project.command("add")
def add_project(name: Name, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Make a project (operators)."""
    with Client(url) as lab:
        row = lab.add_project(name)
    answer(row, lambda: tables.projects_table([row]), as_json=json)


@project.command("list")
def list_projects(json: JsonFlag = False, url: UrlOption = None) -> None:
    """List projects with what each holds of the disk."""
    with Client(url) as lab:
        rows = list(lab.projects())
    answer(rows, lambda: tables.projects_table(rows), as_json=json)


@user.command("add")
def add_user(name: Name, role: Role = "submitter", json: JsonFlag = False, url: UrlOption = None) -> None:
    """Make a user (admins); `cmac key create --user NAME` makes their key."""
    with Client(url) as lab:
        row = lab.add_user(name, role=role)
    answer(row, lambda: tables.users_table([row]), as_json=json)


@user.command("list")
def list_users(json: JsonFlag = False, url: UrlOption = None) -> None:
    """List users (operators)."""
    with Client(url) as lab:
        rows = list(lab.users())
    answer(rows, lambda: tables.users_table(rows), as_json=json)


@user.command("set")
def change_user(
    name: Name,
    role: Role = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="Whether their keys open nothing.")] = None,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Give somebody another role, or shut them out (admins)."""
    wanted = {key: value for key, value in {"role": role, "disabled": disable}.items() if value is not None}
    if not wanted:
        raise BadInput("give --role, --disable or --enable")
    with Client(url) as lab:
        row = lab.change_user(name, **wanted)
    answer(row, lambda: tables.users_table([row]), as_json=json)
