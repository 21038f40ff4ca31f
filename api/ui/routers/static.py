"""Static files, for anybody: nothing in them is the lab's."""

from fastapi import APIRouter, Request, Response

from api.ui import static_files

router = APIRouter(prefix="/ui/static", include_in_schema=False)


@router.get("/{version}/{name}")
def get_static_file(version: str, name: str, request: Request) -> Response:
    """Of the newest version, whichever is asked for; a browser keeps only what it asked for by the right one."""
    file = static_files.read(name)
    current = version == static_files.version()
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache"}
    headers |= {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.plain, headers=headers, media_type=file.media_type)
