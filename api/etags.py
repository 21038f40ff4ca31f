"""`"<version>.<live>"`: version rises with the row, live with progress and the waiting text (API 2.5)."""

from fastapi import Request, Response

from store.tables import Job

POLL_AGAIN_S = "10"


def job_etag(job: Job) -> str:
    """The strong ETag of a job's row."""
    return etag(job.version, job.live)


def etag(version: int, live: int) -> str:
    """As it stands in the header, quoted."""
    return f'"{version}.{live}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether If-None-Match names this ETag: then 304 is the answer."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in given.split(",")]


def not_modified(tag: str, headers: dict[str, str] | None = None) -> Response:
    """304: what the caller has is what there is."""
    return Response(status_code=304, headers={"ETag": tag, **(headers or {})})
