"""The random generators of this process. Training draws from keyed generators; these are kept all the same."""

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int, rank: int) -> None:
    """Give every generator of this rank its start."""
    start = (seed * 10_007 + rank) % 2**32
    random.seed(start)
    np.random.seed(start)  # the global one, which libraries may use
    torch.manual_seed(start)


def generators_state(device: torch.device) -> dict[str, Any]:
    """All states as plain containers and tensors."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), *[float(x) if isinstance(x, float) else int(x) for x in rest]],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_generators(state: dict[str, Any], device: torch.device) -> None:
    """Go on from `generators_state`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
