"""`"<version>.<live>"`: version rises with the row, live with progress and the waiting text (API 2.5)."""

from typing import Annotated

from fastapi import Header, Request, Response

from api.errors import PreconditionFailed, PreconditionRequired
from store.tables import Job

IfMatch = Annotated[str | None, Header(description="ETag of the row that you read, or *.")]

POLL_AGAIN_S = "10"


def job_etag(job: Job) -> str:
    """The strong ETag of a job's row."""
    return etag(job.version, job.live)


def etag(version: int, live: int) -> str:
    """As it stands in the header, quoted."""
    return f'"{version}.{live}"'


def check_unchanged(if_match: str | None, job: Job) -> None:
    """Raises PreconditionRequired without If-Match, PreconditionFailed when it names another version of the row.

    Progress and the waiting text do not count: they change while somebody reads.
    """
    if if_match is None:
        raise PreconditionRequired("If-Match is needed: the ETag of the job that you read, or *")
    versions = [one.strip().removeprefix("W/").strip('"').partition(".")[0] for one in if_match.split(",")]
    if if_match.strip() != "*" and str(job.version) not in versions:
        raise PreconditionFailed(f"job {job.id} has changed since you read it", etag=job_etag(job))


def is_known(request: Request, tag: str) -> bool:
    """Whether If-None-Match names this ETag: then 304 is the answer."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]


def not_modified(tag: str, headers: dict[str, str] | None = None) -> Response:
    """304: what the caller has is what there is."""
    return Response(status_code=304, headers={"ETag": tag, **(headers or {})})
