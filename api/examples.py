"""A body of every kind that is taken, as the OpenAPI document and the manual show it. Tests send each of them."""

from typing import Any

from pydantic import BaseModel

from api.bodies import (
    Because,
    Change,
    ChangeUser,
    NewKey,
    NewProject,
    NewQuota,
    NewRoot,
    NewUser,
    NewWebhook,
    NewWeights,
    NodeLabels,
    Retry,
    RetryCells,
    Rotation,
    SignIn,
)

_TRAINED = {"job": "0b0e4c6a-55d1-4f7f-9d3e-6a1c2b3d4e5f"}
# What to POST to /jobs: title -> spec.
SPECS: dict[str, dict[str, Any]] = {
    "Pack a folder": {"kind": "pack", "dataset": "holidays", "source": {"root": "videos", "path": "2026/summer"}},
    "Pack UCF101 by its own lists": {
        "kind": "pack", "dataset": "ucf101", "layout": "ucf101", "source": {"root": "videos", "path": "ucf101"},
    },
    "Generate a corpus with ground truth": {
        "kind": "pack", "dataset": "objects", "source": {"generate": "sounding-objects", "grade": "easy", "clips": 200},
    },
    "Import torchvision's weights": {
        "kind": "import", "source": {"root": "videos", "path": "r2plus1d_18.pth"}, "layout": "torchvision",
    },
    "Pretrain, small": {"kind": "pretrain", "name": "first", "dataset": "holidays", "scale": "small", "seed": 0},
    "Pretrain as the paper, on 8 GPUs": {
        "kind": "pretrain", "name": "cmac", "dataset": "holidays", "preset": "paper", "scale": "paper",
        "resources": {"gpus": 8}, "queue": {"priority": "high", "walltime_s": 172800, "labels": {"table": "4"}},
    },
    "Fine-tune on a split": {
        "kind": "finetune", "dataset": "holidays", "checkpoint": _TRAINED, "label": "class", "scale": "small",
    },
    "Retrieve videos": {"kind": "retrieval", "dataset": "holidays", "checkpoint": _TRAINED, "k": [1, 5, 10]},
    "Probe the audio encoder": {
        "kind": "probe", "dataset": "holidays", "checkpoint": _TRAINED, "modality": "audio", "label": "class",
    },
    "Show what the model attends to": {
        "kind": "attention", "dataset": "holidays", "checkpoint": _TRAINED, "limit": 6,
    },
    "A table of the paper": {"kind": "experiment", "recipe": "table-1", "scale": "small", "seeds": [0, 1, 2]},
    "A grid of one's own": {
        "kind": "experiment", "name": "temperature", "seeds": [0, 1],
        "base": {"kind": "pretrain", "dataset": "holidays", "scale": "small"},
        "grid": {"contrastive.tau": [0.05, 0.07, 0.1]},
        "then": [{"key": "found", "spec": {"kind": "retrieval", "dataset": "holidays", "scale": "small"}}],
    },
}  # fmt: skip
BODIES: dict[type[BaseModel], dict[str, Any]] = {
    SignIn: {"key": "cmac_8f14e45f_kq3v9x"},
    NewRoot: {"name": "videos", "path": "/data/videos"},
    NewWeights: {"root": "videos", "path": "r2plus1d_18.pth", "layout": "torchvision"},
    NewKey: {"name": "laptop", "role": "submitter", "days": 90},
    Rotation: {"grace_hours": 24},
    NewWebhook: {"url": "https://hooks.example.org/cmac", "events": ["job.succeeded", "job.failed"]},
    NewQuota: {"max_gpus": 8, "max_queued": 500, "share": 2},
    NewProject: {"name": "cmac"},
    NewUser: {"name": "ana", "role": "submitter"},
    ChangeUser: {"role": "operator"},
    NodeLabels: {"labels": {"rack": "3", "disk": "nvme"}},
    Because: {"reason": "a new fan"},
    Retry: {"fresh": False, "walltime_s": 86400},
    RetryCells: {"rows": ["no_ac"]},
    Change: {"priority": "high", "labels": {"table": "4", "draft": None}},
}
