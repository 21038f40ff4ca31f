"""What a spec asks for beyond the defaults, which are the paper's."""

from typing import Any

from cmac_core.specs.jobs import Pretrain

# Said elsewhere, or not the science's.
_NOT_SETTINGS = ("kind", "name", "dataset", "where", "init", "seed", "preset", "scale", "resources", "queue",
                 "checkpoints")  # fmt: skip
READING = ("data.workers", "data.memory_gb")  # how clips are read changes nothing in what is learned


def differences(pretrain: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted field -> (default, value) of a stored pretraining's spec; it may be older or newer than this code."""
    usual = flat(Pretrain(dataset="any", preset="paper").model_dump(mode="json"))
    told = flat(pretrain)
    return {
        name: (usual.get(name), value)
        for name, value in told.items()
        if usual.get(name) != value and name.split(".")[0] not in _NOT_SETTINGS and name not in READING
    }


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """Nested objects as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        nested = isinstance(value, dict) and value
        found |= {f"{name}.{inner}": deeper for inner, deeper in flat(value).items()} if nested else {name: value}
    return found
