"""Two dials that fill in fields: `preset` chooses the method's variant, `scale` the size of a run.

Field defaults are the paper's and never change. A dial's values lie between the defaults and what the
author of a spec wrote; a stored spec has every field written out, so expanding it again changes nothing.
"""

from typing import Any, Literal

Overlay = dict[str, Any]

DEFAULT_PRESET: Literal["mutual"] = "mutual"

# `projected` is METHOD 13's lead: correlate after separate heads, centred, lambda ramped up. `mutual` is what came
# out of measuring the choices around it (docs/RESULTS.md): guidance and prediction learn from each other.
PRESETS: dict[str, dict[str, Overlay]] = {
    "paper": {},
    "mutual": {
        "pretrain": {
            "model": {"head": {"shared": False}},
            "pcf": {"space": "projected", "center": "batch", "target_grad": "flow"},
            "contrastive": {"wi_neg": False},
            "moco": {"inbatch_negatives": True},
            "loss": {"ramp": {"by": "contrast", "start": 0.1, "end": 0.3}},
        }
    },
    "projected": {
        "pretrain": {
            "model": {"head": {"shared": False}},
            "pcf": {"space": "projected", "center": "batch"},
            "loss": {"ramp": {"by": "train_epoch", "start": 1.0, "end": 3.0}},
        }
    },
}

SMALL_GEOMETRY: Overlay = {"frames": 8, "fps": 8.0, "crop": 64}
# Three stages leave 8 x 8 cells of a picture of 64 pixels: as many as the paper has of 128.
SMALL_MODEL: Overlay = {"width": 8, "depth": 1, "stages": 3, "bn_group": 16}

SCALES: dict[str, dict[str, Overlay]] = {
    "paper": {},
    "ablation": {
        "pretrain": {
            "data": {"color_jitter": {"on": False}},
            "model": {"bn_group": 8},
            "optim": {"epochs": 50, "batch": 64},
        },
        "finetune": {"color_jitter": {"on": False}},
    },
    "small": {
        "pretrain": {
            # A training of minutes has no steps to spend on unlearning what augmentation adds.
            "data": {
                "fps": 8.0,
                "frames": 8,
                "crop": 64,
                "short_side": [64, 80],
                "color_jitter": {"on": False},
                "workers": 0,
            },
            "audio": {"specaug": {"W": 0, "n_freq": 0, "n_time": 0}},
            "model": SMALL_MODEL,
            "moco": {"K": 64, "m": 0.99},
            "optim": {
                "algorithm": "adamw",
                "batch": 16,
                "epochs": 16,
                "lr": 0.003,
                "warmup_epochs": 0.5,
                "schedule": "cosine",
            },
        },
        "retrieval": {"geometry": SMALL_GEOMETRY, "n_clips": 3},
        "probe": {"geometry": SMALL_GEOMETRY, "n_clips": 3, "seconds": 1.0},
        "attention": {"geometry": SMALL_GEOMETRY},
        "finetune": {
            "geometry": SMALL_GEOMETRY,
            "data": {"short_side": [64, 80], "workers": 0},
            "train_clips": 2,
            "n_clips": 3,
            "optim": {"lr": 0.02, "epochs": 12},
        },
    },
}


def expand(body: object, kind: str) -> object:
    """The body of a job of this kind, with the values of its dials filled in below what it says itself."""
    if not isinstance(body, dict):
        return body
    preset, scale = body.get("preset", DEFAULT_PRESET), body.get("scale", "paper")
    if preset == "small":
        preset, scale = "paper", "small"
        body = {**body, "preset": preset, "scale": scale}
    filled: Overlay = {}
    for dial, value in ((PRESETS, preset), (SCALES, scale)):
        # An unknown value is left for the field's own validation to name.
        overlay = dial.get(value, {}) if isinstance(value, str) else {}
        filled = merged(filled, overlay.get(kind, {}))
    if scale == "small" and _is_random(body.get("checkpoint")):
        filled = merged(filled, {"checkpoint": {"model": SMALL_MODEL}})
    return merged(filled, body)


def _is_random(checkpoint: object) -> bool:
    """Whether an evaluation's networks are to be initialised: their size is then the scale's, not a checkpoint's."""
    return isinstance(checkpoint, dict) and "random_init" in checkpoint


def merged(below: Overlay, above: Overlay) -> Overlay:
    """`above` over `below`, key by key in nested objects."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return both
