"""The queue face: Celery app, scheduler and reconciler loops, node loop, supervisor."""
