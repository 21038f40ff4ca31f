"""Problems as pages, for whoever looks with a browser."""

import json
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import URL

from api.ui.rendering import page

SIGN_IN = "/ui/sign-in"


def for_reader(request: Request, problem: JSONResponse) -> Response:
    """The problem as it is, or as a page: of pages, and of addresses that there are not, to a browser.

    A page that nobody may see who has not signed in leads there, and back afterwards.
    """
    if not _wants_page(request, problem.status_code):
        return problem
    told = json.loads(bytes(problem.body))
    if problem.status_code == 401:
        return RedirectResponse(sign_in_address(request.url), 303, headers={"Cache-Control": "no-store"})
    answer = page(request, "error.html", status=problem.status_code, title=told["title"], problem=told, here="")
    kept = {name: value for name, value in problem.headers.items() if name in ("retry-after", "allow")}
    answer.headers.update(kept)
    return answer


def sign_in_address(back: URL) -> str:
    """Where to sign in, on the way to another page."""
    target = f"{back.path}?{back.query}" if back.query else back.path
    return f"{SIGN_IN}?next={quote(target)}"


def _wants_page(request: Request, status: int) -> bool:
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return False
    path = request.url.path
    nowhere = status == 404 and "route" not in request.scope
    return nowhere or path == "/ui" or path.startswith("/ui/")
