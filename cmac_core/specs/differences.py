"""What a spec asks for beyond the defaults, which are the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

from cmac_core.specs.jobs import Pretrain

# Said elsewhere, or not the science's.
_NOT_SETTINGS = ("kind", "name", "dataset", "where", "init", "seed", "preset", "scale", "resources", "queue",
                 "checkpoints")  # fmt: skip
_NOT_LEARNED = ("name", "queue", "resources")
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


def differing(specs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """(dotted field, value in each spec) where these are not all the same; None where a spec has no such field."""
    return [(name, values) for name, values in side_by_side(specs) if any(value != values[0] for value in values)]


def side_by_side(specs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """(dotted field, value in each spec) of every field of what is learned, not of name, queue and resources."""
    told = [flat({name: value for name, value in spec.items() if name not in _NOT_LEARNED}) for spec in specs]
    names = dict.fromkeys(name for spec in told for name in spec)
    return [(name, [spec.get(name) for spec in told]) for name in names]
