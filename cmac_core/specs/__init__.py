"""Specs: what a job is, in frozen pydantic models. No torch is needed to import or validate them."""

from cmac_core.specs.clips import AudioFrontEnd, ClipGeometry, ClipSampling
from cmac_core.specs.corpus import SoundingObjects
from cmac_core.specs.experiment import Experiment
from cmac_core.specs.jobs import (
    JOB_SPEC,
    KINDS,
    Attention,
    Finetune,
    FolderSource,
    Import,
    JobSpec,
    LabelTable,
    Pack,
    Pretrain,
    Probe,
    Retrieval,
    Scale,
    WeightsFile,
)
from cmac_core.specs.packing import Layout, Shard
from cmac_core.specs.placement import Queue, Resources
from cmac_core.specs.references import JobCheckpoint, RandomInit, StoredCheckpoint
from cmac_core.specs.splits import Split

__all__ = [
    "JOB_SPEC",
    "KINDS",
    "Attention",
    "AudioFrontEnd",
    "ClipGeometry",
    "ClipSampling",
    "Experiment",
    "Finetune",
    "FolderSource",
    "Import",
    "JobCheckpoint",
    "JobSpec",
    "LabelTable",
    "Layout",
    "Pack",
    "Pretrain",
    "Probe",
    "Queue",
    "RandomInit",
    "Resources",
    "Retrieval",
    "Scale",
    "Shard",
    "SoundingObjects",
    "Split",
    "StoredCheckpoint",
    "WeightsFile",
]
