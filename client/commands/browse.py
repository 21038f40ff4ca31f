"""Pages of the web UI from the command line."""

import os
import sys
import webbrowser
from typing import Annotated

import typer

from client.api import Client
from client.completion import complete_jobs_and_experiments
from client.experiment import Experiment
from client.terminal import JsonFlag, UrlOption, answer, notes

PrintFlag = Annotated[bool, typer.Option("--print", help="Only print the address.")]


def open_page(
    id: Annotated[
        str,
        typer.Argument(metavar="JOB|EXPERIMENT", help="An id.", autocompletion=complete_jobs_and_experiments),
    ],
    only_print: PrintFlag = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Open the page of a job or an experiment in the browser."""
    with Client(url) as lab:
        found = lab.find(id)
        kind = "experiments" if isinstance(found, Experiment) else "jobs"
        page = f"{lab.url}/ui/{kind}/{found.id}"
    show_page(page, only_print=only_print, as_json=json)


def show_page(page: str, *, only_print: bool, as_json: bool) -> None:
    """In the browser, saying so; its address on standard output where there is none, or none is wanted."""
    opened = not (only_print or as_json) and _has_browser() and webbrowser.open(page)
    if opened:
        notes().print(f"Opened {page}", markup=False)
    else:
        answer({"url": page}, lambda: page, as_json=as_json)


def _has_browser() -> bool:
    """Whether one would show up: on Linux without a screen only one that $BROWSER names."""
    screen = sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    try:
        return bool(webbrowser.get()) and (screen or "BROWSER" in os.environ)
    except webbrowser.Error:
        return False
