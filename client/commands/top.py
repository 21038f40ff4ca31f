"""The lab live, on the whole screen."""

from typing import Annotated

import httpx2
import typer
from rich.console import Console, Group
from rich.live import Live

from client.api import Client
from client.feed import Feed, look
from client.keyboard import Keyboard
from client.screen import Screen, head, page
from client.terminal import JsonFlag, UrlOption, answer, console

PATIENCE = httpx2.Timeout(5.0, connect=2.0)  # a service that is away is to be told of, not waited for
LOOK_S = 0.5  # ages and expected starts move on between two answers
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "home": -(10**6), "end": 10**6}


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="How often to ask.", min=0.5, max=3600)] = 2.0,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show machines, what runs and what waits, live. q quits, arrows scroll, / filters."""
    out = console()
    with Client(url, retries=0, timeout=PATIENCE) as lab:
        if out.is_terminal and not (once or json):
            with Feed(lab, every) as feed:
                _show(feed, out)
            return
        view = look(lab)
    body = {"nodes": view.nodes, "running": view.running, "waiting": view.waiting}
    answer(body, lambda: Group(head(view), page(view)), as_json=json)


def _show(feed: Feed, out: Console) -> None:
    screen, place, wanted, typing = Screen(feed.view), 0, "", False
    with Keyboard() as keyboard, Live(screen, console=out, screen=True, auto_refresh=False) as live:
        while True:
            screen = Screen(feed.view, place, wanted, typing=typing)
            live.update(screen, refresh=True)
            place = screen.top  # where the end stopped it
            key = keyboard.read(LOOK_S)
            if typing:
                typing = key not in ("enter", "escape")
                wanted = _typed(wanted, key)
            elif key in ("q", "Q"):
                return
            elif key in ("/", "escape"):
                typing, wanted, place = key == "/", "", 0
            else:
                pages = {"page up": -1, "page down": 1, " ": 1}
                place += _STEPS.get(key, pages.get(key, 0) * (out.height - 3))


def _typed(wanted: str, key: str) -> str:
    """A filter's text after a key."""
    if key == "escape":
        return ""
    return wanted[:-1] if key == "backspace" else wanted + (key if len(key) == 1 else "")
