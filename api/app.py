"""The HTTP face, put together."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI

from api import openapi, problems
from api.authentication import authenticate
from api.body_limit import BodyLimit
from api.dependencies import check_parameters
from api.first_start import ensure_first_key
from api.gauges import Gauges
from api.rates import Rates
from api.request_log import RequestLog
from api.routers import (
    catalog,
    checkpoints,
    experiments,
    files,
    jobs,
    lab,
    operation,
    pages,
    people,
    results,
    sessions,
    streams,
    webhooks,
)
from api.settings import ApiSettings, api_settings
from api.sse import Streams
from api.ui.routers import attention, job, manual, queue, sign_in, static, submit
from api.ui.routers import catalog as catalog_pages
from api.ui.routers import experiments as experiment_pages
from api.version import VERSION

log = logging.getLogger("api")

_FIRST_LOOK_S = 3.0


def make_app(settings: ApiSettings | None = None, *, announce_key: bool = False) -> FastAPI:
    """The app. It connects to nothing before it is asked, and comes up while database or broker are away."""
    settings = settings or api_settings()
    app = FastAPI(
        title="CMAC lab",
        version=VERSION,
        docs_url=None,  # these would fetch scripts from elsewhere; /docs is our own
        redoc_url=None,
        lifespan=_listen,
        dependencies=[Depends(check_parameters)],
    )
    app.state.settings, app.state.announce_key = settings, announce_key
    app.state.rates = Rates(settings.rate, settings.burst)
    app.state.streams = Streams(settings)
    app.state.gauges = Gauges(app.state.streams.slots)
    of_pages = (sign_in, static, manual, queue, experiment_pages, submit, attention, catalog_pages, job)
    for asks_by_itself in (operation, pages, sessions, *of_pages):
        app.include_router(asks_by_itself.router)
    known = [Depends(authenticate)]
    # Streams first: /jobs/{id}/metrics/stream must not be taken for anything else.
    routers = (streams, jobs, experiments, results, files, catalog, checkpoints, lab, people, webhooks)
    for router in (module.router for module in routers):
        app.include_router(router, dependencies=known, responses=openapi.problems(401, 403))
    app.add_middleware(BodyLimit, limit=settings.body_limit)
    app.add_middleware(RequestLog, gauges=app.state.gauges)  # added last, so it is outermost
    problems.install(app)
    openapi.install(app)
    return app


@contextlib.asynccontextmanager
async def _listen(app: FastAPI) -> AsyncIterator[None]:
    """While the app runs, one task listens for what changes; at the first start another makes the first key."""
    streams: Streams = app.state.streams
    first_key = asyncio.create_task(ensure_first_key(app.state.announce_key))
    # A first look before the first request; without a database it goes on looking meanwhile.
    await asyncio.wait([first_key], timeout=_FIRST_LOOK_S)
    tasks = [first_key, asyncio.create_task(streams.wakeups.listen())]
    yield
    streams.leave()
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("a task of the service failed", exc_info=ended)
