"""How the command line speaks: tables for people, JSON for programs, ids alone for pipes."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids or nothing.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="The service's address.", envvar="CMAC_URL")]


def console() -> Console:
    """Standard output, as it is now (tests and pipes change it)."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def notes() -> Console:
    """Standard error: progress, warnings, what to do next; never mixed into output that a program reads."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def answer(
    data: Any, draw: Callable[[], RenderableType], *, as_json: bool = False, ids: Iterable[str] | None = None
) -> None:
    """Print `data` as JSON, or only `ids` when quiet, or what `draw` makes of it."""
    if as_json:
        print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    elif ids is not None:
        for one in ids:
            print(one)
    else:
        console().print(draw())
