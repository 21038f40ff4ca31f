"""The Celery producer: how a message reaches a node. The message wakes; the database decides."""

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from store import embedded
from store.errors import BrokerAway
from store.settings import settings

if TYPE_CHECKING:  # a supervisor needs none of it, and would start later by a third
    from celery import Celery

LAUNCH = "cmac.launch"  # arguments: attempt_id (text), epoch (int)

CONFIG: dict[str, Any] = {  # QUEUE 11, each with its reason there
    "task_acks_late": False,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "worker_soft_shutdown_timeout": 30,
    "task_soft_time_limit": 60,
    "task_time_limit": 90,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "broker_transport_options": {
        "global_keyprefix": "cmac:",
        "socket_keepalive": True,
        "socket_timeout": 30,
        "health_check_interval": 25,
    },
}


def node_queue(node_id: UUID) -> str:
    """The queue that only this node's worker reads."""
    return f"node.{node_id}"


def broker_url() -> str:
    """CMAC_BROKER_URL, else the embedded Redis."""
    return settings().broker_url or embedded.broker_url(settings())


def make_app() -> "Celery":
    """A Celery app with the lab's settings; the worker registers its task on one, the relay sends with one."""
    from celery import Celery

    app = Celery("cmac", broker=broker_url())
    app.conf.update(CONFIG)
    return app


@cache
def producer() -> "Celery":
    """This process's app for sending. It asks once: the outbox tries again, and a relay that waits holds rows."""
    app = make_app()
    once = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app.conf.broker_transport_options = CONFIG["broker_transport_options"] | once
    return app


def send(queue: str, payload: dict[str, Any]) -> None:
    """Publish one launch message. Raises BrokerAway at once when the broker does not answer."""
    from kombu.exceptions import OperationalError

    try:
        producer().send_task(LAUNCH, kwargs=payload, queue=queue, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        raise BrokerAway(str(error)) from error


def broker_answers(timeout_s: int = 1) -> bool:
    """Whether the broker can be reached now."""
    from kombu.exceptions import OperationalError

    try:
        with producer().connection_for_write(connect_timeout=timeout_s) as connection:
            connection.ensure_connection(max_retries=1, timeout=timeout_s, interval_start=0)
    except (OperationalError, OSError):
        return False
    return True
