"""A page as it leaves: the template, who looks at it, and headers that keep everything from elsewhere out."""

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api import cookies
from api.ui import static_files, words
from store import browser_sessions
from store.keys import Principal

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # plotly.js writes style elements and attributes (RULINGS 28)
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NAVIGATION = (
    ("queue", "/ui/queue", "Queue"),
    ("jobs", "/ui/jobs", "Jobs"),
    ("experiments", "/ui/experiments", "Experiments"),
    ("attention", "/ui/attention", "Attention"),
    ("checkpoints", "/ui/checkpoints", "Checkpoints"),
    ("datasets", "/ui/datasets", "Datasets"),
    ("submit", "/ui/submit", "Submit"),
)


def page(
    request: Request, template: str, principal: Principal | None = None, status: int = 200, **context: Any
) -> HTMLResponse:
    """A whole page. `principal`: who looks; None before somebody has signed in."""
    token = cookies.read(request) if principal else None
    text = environment().get_template(template).render(
        principal=principal,
        csrf=browser_sessions.csrf_token(token) if token else None,
        static=f"/ui/static/{static_files.version()}",
        navigation=NAVIGATION,
        **context,
    )  # fmt: skip
    return HTMLResponse(text, status, headers=HEADERS)


@cache
def environment() -> Environment:
    """The templates of all pages."""
    folder = Path(__file__).parent / "templates"
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty place
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= words.FILTERS
    return made
