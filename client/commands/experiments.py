"""Experiments and their tables."""

from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.completion import complete_experiments
from client.errors import BadInput
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes


def list_experiments(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 30,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """List experiments, newest first, with how far their jobs are."""
    with Client(url) as lab:
        rows = [experiment.row for experiment in lab.experiments(limit)]
    made = tables.table("id", "name", "recipe", "scale", "state", ("jobs", "right"), "of them", ("age", "right"))
    for row in rows:
        names = (str(row["id"])[:8], str(row["name"]), str(row["recipe"] or "grid"), str(row["scale"]))
        counts = ", ".join(f"{count} {state}" for state, count in row["counts"].items())
        age = tables.age(row["submitted_at"])
        made.add_row(*names, tables.state_text(str(row["state"])), str(row["jobs"]), counts, age)
    empty = "no experiments; `cmac submit --recipe table-1 --scale small` starts one"
    answer(rows, lambda: made if rows else empty, as_json=json, ids=[row["id"] for row in rows] if quiet else None)


def show_table(
    experiment: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT", help="Its id or the unique start of it.", autocompletion=complete_experiments
        ),
    ],
    csv: Annotated[bool, typer.Option("--csv", help="One record a number.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="For the booktabs package.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="A figure, as figure-4 is.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show an experiment's table as it fills: ours beside the paper's numbers and those of others."""
    forms = {"csv": csv, "markdown": markdown, "latex": latex, "svg": svg}
    chosen = [form for form, wanted in forms.items() if wanted]
    if len(chosen) + json > 1:
        raise BadInput(f"give one form, not {' and '.join(f'--{form}' for form in chosen)}{' and --json' * json}")
    with Client(url) as lab:
        found = lab.experiment(experiment)
        if chosen:
            print(found.table(chosen[0]), end="")
            return
        view = found.result().model_dump(mode="json")
    answer(view, lambda: tables.experiment_tables(view), as_json=json)
    if not (view["final"] or json):
        notes().print(f"It goes on: cmac wait {found.id[:8]}", style="dim")
