"""Who is told of events, and how that goes."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.authentication import SubmitterDep
from api.bodies import NewWebhook, parse_body
from api.dependencies import SessionDep
from api.json_bodies import JsonBody
from api.once import IdempotencyKey, Once
from api.openapi import problems, takes
from api.pages import Cursor, Limit, cut
from api.views.base import ListView
from api.views.webhooks import DeliveryView, NewWebhookView, WebhookView
from cmac_core.specs.problems import FieldProblem
from store import receivers, webhooks
from store.errors import InvalidSpec
from store.idempotency import Answer
from store.settings import settings

router = APIRouter(tags=["webhooks"])


@router.get("/webhooks")
def list_webhooks(
    request: Request,
    response: Response,
    principal: SubmitterDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[WebhookView]:
    """Your webhooks, newest first; operators see everybody's."""
    rows = [WebhookView.model_validate(row) for row in webhooks.listed(session, principal)]
    return cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.post(
    "/webhooks",
    status_code=201,
    response_model=NewWebhookView,
    responses=problems(404),
    openapi_extra=takes(NewWebhook),
)
def add_webhook(
    request: Request,
    body: JsonBody,
    principal: SubmitterDep,
    session: SessionDep,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Have a URL told of events. The answer is the only place where the secret that signs them is shown."""
    new = parse_body(NewWebhook, body)
    _check_url(new.url)

    def add() -> Answer:
        hook = webhooks.add(session, new.url, new.events, new.project, principal)
        return Answer(201, {}, NewWebhookView.model_validate(hook).model_dump(mode="json"))

    return Once(request, session, principal, idempotency_key).answer(body, add)


@router.get("/webhooks/{webhook_id}", responses=problems(404))
def get_webhook(webhook_id: UUID, principal: SubmitterDep, session: SessionDep) -> WebhookView:
    """One webhook, and whether anything arrives."""
    return WebhookView.model_validate(webhooks.get(session, webhook_id, principal))


@router.delete("/webhooks/{webhook_id}", status_code=204, responses=problems(404))
def remove_webhook(webhook_id: UUID, principal: SubmitterDep, session: SessionDep) -> None:
    """It is told nothing any more; what was on its way is gone too."""
    webhooks.remove(session, webhook_id, principal)


@router.post("/webhooks/{webhook_id}/ping", status_code=202, responses=problems(404))
def ping_webhook(webhook_id: UUID, principal: SubmitterDep, session: SessionDep) -> DeliveryView:
    """Send a test, once and at once; look at it among the deliveries. One that arrives enables the webhook again."""
    return DeliveryView.model_validate(webhooks.ping(session, webhook_id, principal))


@router.get("/webhooks/{webhook_id}/deliveries", responses=problems(404))
def list_deliveries(
    webhook_id: UUID,
    request: Request,
    response: Response,
    principal: SubmitterDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[DeliveryView]:
    """What was sent or waits, newest first, with what the receiver answered; kept for 30 days."""
    hook = webhooks.get(session, webhook_id, principal)
    rows = [DeliveryView.model_validate(row) for row in webhooks.deliveries(session, hook)]
    return cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=problems(404))
def redeliver(webhook_id: UUID, delivery_id: UUID, principal: SubmitterDep, session: SessionDep) -> DeliveryView:
    """Send one again, under its old id."""
    return DeliveryView.model_validate(webhooks.redeliver(session, webhook_id, delivery_id, principal))


def _check_url(url: str) -> None:
    """Where it leads is looked at again before every call. Raises InvalidSpec."""
    try:
        target = receivers.parse(url)
        receivers.check(target, receivers.resolve(target), settings().webhooks_allowed)
    except (ValueError, receivers.Refused) as error:
        raise InvalidSpec([FieldProblem("/url", str(error), url)]) from error
