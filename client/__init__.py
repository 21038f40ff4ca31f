"""The Python client and the `cmac` command: a face of the service for people, without server or torch."""

from client.api import Client
from client.errors import (
    ApiError,
    BadDownload,
    BadInput,
    ClientError,
    JobCancelled,
    JobFailed,
    ServiceAway,
    WaitTimeout,
)
from client.experiment import Experiment, ExperimentResult
from client.job import Job
from client.results import Artifact, AttentionMap, Result, Value

__all__ = [
    "ApiError",
    "Artifact",
    "AttentionMap",
    "BadDownload",
    "BadInput",
    "Client",
    "ClientError",
    "Experiment",
    "ExperimentResult",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Result",
    "ServiceAway",
    "Value",
    "WaitTimeout",
]
