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
    options = ["--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=INFO"]
    app.worker_main(["--quiet", "worker", f"--queues={queue.node_queue(node_id)}", name, *options])
