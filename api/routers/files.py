"""Artifacts: immutable bytes, named by their sha256."""

import re
import stat
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.errors import Gone
from api.etags import is_known, not_modified
from api.openapi import BYTES, problems
from api.ranges import part_of, wanted_range, whole
from store import artifacts
from store.errors import NotFound
from store.settings import settings
from store.tables import Artifact

router = APIRouter(prefix="/artifacts", tags=["results"], responses=problems(404))

_SHOWN = ("image/png", "video/mp4", "application/json")  # the rest is offered for saving
_SHA256 = re.compile(r"[0-9a-f]{64}")


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}", responses=BYTES | problems(410, 416), response_class=Response)
def get_artifact(sha256: str, request: Request, principal: ViewerDep, session: SessionDep) -> Response:
    """The bytes of that hash, if you may see a job that holds them. They never change."""
    if not _SHA256.fullmatch(sha256):
        raise NotFound("artifacts are named by a sha256: 64 characters of 0-9a-f")
    artifact = artifacts.by_sha256(session, sha256, principal)
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
    if not file.is_relative_to(settings().root.resolve()) or not stat.S_ISREG(file.stat().st_mode):
        raise Gone(f"the file of artifact {artifact.sha256} lies outside of the service's home")
    return file
