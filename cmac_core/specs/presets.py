"""Two dials that fill in fields: `preset` chooses the method's variant, `scale` the size of a run.

Field defaults are the paper's and never change. A dial's values lie between the defaults and what the
author of a spec wrote; a stored spec has every field written out, so expanding it again changes nothing.
"""

from typing import Any

Overlay = dict[str, Any]

# The variant that localises (METHOD 13): correlate after separate heads, centred, lambda ramped up.
PRESETS: dict[str, dict[str, Overlay]] = {
    "paper": {},
    "projected": {
        "pretrain": {
            "model": {"head": {"shared": False}},
            "pcf": {"space": "projected", "center": "batch"},
            "loss": {"ramp": {"by": "train_epoch", "start": 1.0, "end": 3.0}},
        }
    },
}

SMALL_GEOMETRY: Overlay = {"frames": 8, "fps": 8.0, "crop": 64}
SMALL_MODEL: Overlay = {"width": 8, "depth": 1, "bn_group": 16}

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
            "data": {"fps": 8.0, "frames": 8, "crop": 64, "short_side": [64, 80], "workers": 0},
            "model": SMALL_MODEL,
            "moco": {"K": 256, "m": 0.99},
            "optim": {"batch": 32, "epochs": 10, "lr": 0.03, "warmup_epochs": 0.5},
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
    preset, scale = body.get("preset", "paper"), body.get("scale", "paper")
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
