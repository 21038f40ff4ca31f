"""Files of the home as answers: whole, in part, or not at all when the client has them."""

from pathlib import Path
from urllib.parse import quote

from fastapi import Request, Response

from api.etags import is_known, not_modified
from api.ranges import part_of, wanted_range, whole
from store.errors import Gone
from store.settings import settings
from store.tables import Artifact

_SHOWN = ("image/png", "video/mp4", "audio/mp4", "application/json")  # the rest is offered for saving


def artifact_answer(request: Request, artifact: Artifact) -> Response:
    """200, 206 or 304, by the request's headers; HEAD without the bytes. Raises Gone, RangeNotSatisfiable."""
    headers = _headers(artifact)
    if is_known(request, headers["ETag"]):
        return not_modified(headers.pop("ETag"), headers)
    file = _inside(artifact)
    size = file.stat().st_size
    span = wanted_range(request, size, headers["ETag"])
    if span is not None:
        answer = part_of(file, span, artifact.media_type, headers)
    else:
        answer = whole(file, size, artifact.media_type, headers)
    if request.method == "HEAD":
        return Response(status_code=answer.status_code, headers=dict(answer.headers))
    return answer


def _headers(artifact: Artifact) -> dict[str, str]:
    name = Path(artifact.name).name
    how = "inline" if artifact.media_type in _SHOWN else "attachment"
    return {
        "ETag": f'"{artifact.sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name)}",
    }


def _inside(artifact: Artifact) -> Path:
    """The file, which must lie in the home, links followed. Raises Gone."""
    file = Path(artifact.path).resolve()
    if not file.is_relative_to(settings().root.resolve()) or not file.is_file():
        raise Gone(f"the file of artifact {artifact.sha256} is gone, or lies outside of the service's home")
    return file
