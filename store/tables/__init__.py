"""The tables. What may be done to them stands in the other modules; only migrations change them."""

from store.tables.attempts import Attempt, Part
from store.tables.base import JSON, Table
from store.tables.data import Dataset, Root
from store.tables.jobs import NEVER, Cell, Experiment, Job, JobEdge, JobEvent
from store.tables.machines import Device, DeviceLease, Leader, Node
from store.tables.messages import IdempotencyKey, Outbox, Webhook
from store.tables.people import ApiKey, Audit, BrowserSession, Project, Quota, User
from store.tables.results import LABELS, Artifact, Checkpoint, Metric, Result, ResultValue

__all__ = [
    "JSON",
    "LABELS",
    "NEVER",
    "ApiKey",
    "Artifact",
    "Attempt",
    "Audit",
    "BrowserSession",
    "Cell",
    "Checkpoint",
    "Dataset",
    "Device",
    "DeviceLease",
    "Experiment",
    "IdempotencyKey",
    "Job",
    "JobEdge",
    "JobEvent",
    "Leader",
    "Metric",
    "Node",
    "Outbox",
    "Part",
    "Project",
    "Quota",
    "Result",
    "ResultValue",
    "Root",
    "Table",
    "User",
    "Webhook",
]
