"""Where one signs in. It tells this machine's own people where the first key of a new lab is."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.authentication import ViewerDep, authenticate, is_local
from api.ui.rendering import page
from store.errors import Unauthenticated
from store.settings import settings

router = APIRouter(prefix="/ui", include_in_schema=False)
HOME = "/ui/queue"


@router.get("/sign-in")
def sign_in_page(request: Request, next: Annotated[str, Query(max_length=2000)] = HOME) -> Response:
    """The form; whoever is signed in already goes on."""
    try:
        authenticate(request, None)
    except Unauthenticated:
        return _form(request, next)
    return RedirectResponse(_own_page(next), 303)


@router.get("")
def home(principal: ViewerDep) -> RedirectResponse:
    """The first page."""
    return RedirectResponse(HOME, 307)


def _form(request: Request, next: str) -> HTMLResponse:
    # Where the key lies is said to this machine's own people alone.
    key_file = str(settings().root / "admin.key") if is_local(request) else None
    return page(request, "sign_in.html", title="Sign in", here="", next=_own_page(next), key_file=key_file)


def _own_page(next: str) -> str:
    """Only to one of our own pages, wherever a link may point."""
    parts = urlsplit(next)
    inside = not parts.scheme and not parts.netloc and (parts.path == "/ui" or parts.path.startswith("/ui/"))
    return next if inside and "\\" not in next else HOME
