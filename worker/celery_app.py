"""The Celery app of one node's consumer: it reads the node's own queue, and nothing hangs on it."""

import uuid

from celery import Celery

from store import queue

PING = "cmac.ping"

app: Celery = queue.make_app()
app.conf.update(include=["worker.tasks"])


def consume(node_id: uuid.UUID) -> None:
    """Run the consumer until SIGTERM."""
    # Equal worker names steal each other's control messages.
    name = f"--hostname=gpu@{node_id}"
    options = ["--pool=prefork", "--concurrency=2", "--loglevel=INFO"]
    # Nobody listens to what workers tell each other: the node loop and the pulse say whether this one lives.
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["--quiet", "worker", f"--queues={queue.node_queue(node_id)}", name, *options])
