"""Is it alive, is it ready, what does it measure, which version is it."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST

from api.authentication import authenticate, bearer, is_local
from api.gauges import Gauges
from api.health import look
from api.openapi import TEXT, problems
from api.problems import RETRY_AFTER_S, problem
from api.version import VERSION
from store.code import code_version

router = APIRouter(tags=["operation"])

Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


@router.get("/healthz", response_class=PlainTextResponse, responses=TEXT)
async def healthz() -> PlainTextResponse:
    """The process answers. It looks at nothing else."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", responses=problems(503))
def readyz(request: Request, given: Credentials) -> Response:
    """503 while the database is away or not migrated; `degraded` while a loop or the disk needs a look."""
    health = look()
    if not health.ready:
        text = "; ".join(health.troubles)
        return problem("/readyz", "unavailable", text, {"Retry-After": str(RETRY_AFTER_S)}, status_word="unavailable")
    body: dict[str, Any] = {"status": "degraded" if health.troubles else "ready"}
    if given is not None:
        authenticate(request, given)
        body |= {"checks": health.checks, "troubles": health.troubles}
    return JSONResponse(body)


@router.get("/metrics", response_class=PlainTextResponse, responses=TEXT | problems(401))
def prometheus(request: Request, given: Credentials) -> Response:
    """For Prometheus: open to this machine, to others with a key."""
    if given is not None or not is_local(request):
        authenticate(request, given)
    gauges: Gauges = request.app.state.gauges
    return Response(gauges.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
def version() -> dict[str, Any]:
    """The service's version."""
    return {"version": VERSION, **code_version()._asdict()}
