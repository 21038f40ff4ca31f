"""Artifacts: immutable bytes, named by their sha256."""

import re

from fastapi import APIRouter, Request, Response

from api.authentication import ViewerDep
from api.dependencies import SessionDep
from api.downloads import artifact_answer
from api.openapi import BYTES, problems
from store import artifacts
from store.errors import NotFound

router = APIRouter(prefix="/artifacts", tags=["results"], responses=problems(404))

_SHA256 = re.compile(r"[0-9a-f]{64}")


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}", responses=BYTES | problems(410, 416), response_class=Response)
def get_artifact(sha256: str, request: Request, principal: ViewerDep, session: SessionDep) -> Response:
    """The bytes of that hash, if you may see a job that holds them. They never change."""
    if not _SHA256.fullmatch(sha256):
        raise NotFound("artifacts are named by a sha256: 64 characters of 0-9a-f")
    return artifact_answer(request, artifacts.by_sha256(session, sha256, principal))
