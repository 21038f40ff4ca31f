"""The manual, for anybody: nothing in it is the lab's, and it is there while the database is not."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from api.manual import documents, site
from api.ui import static_files
from api.ui.rendering import HEADERS
from store.errors import NotFound

router = APIRouter(prefix="/manual", include_in_schema=False)

_KEPT = {"Cache-Control": "no-cache"}  # asked for again, sent again: an upgrade changes pages


@router.get("")
@router.get("/")
def manual() -> RedirectResponse:
    """Its first page."""
    return RedirectResponse(f"/manual/{site.HOME}", 307)


@router.get("/{name:path}")
def manual_file(
    name: str, request: Request, q: Annotated[str, Query(max_length=1000, description="What the page looks for.")] = ""
) -> Response:
    """A page, a picture of one, or the words that are searched. `q` is read by the page's script."""
    openapi = request.app.openapi()
    if name == site.INDEX:
        return Response(site.words(openapi), headers=HEADERS | _KEPT, media_type="text/javascript; charset=utf-8")
    if (picture := documents.pictures().get(name)) is not None:
        return FileResponse(picture, headers=HEADERS | _KEPT, media_type=documents.PICTURES[picture.suffix])
    frame = site.Frame(static=f"/ui/static/{static_files.version()}", lab="/ui")
    html = site.page(name, openapi, frame)
    if html is None:
        raise NotFound(f"the manual has no page {name[:64]!r}; /manual/{site.HOME} is its first")
    return HTMLResponse(html, headers=HEADERS | _KEPT)
