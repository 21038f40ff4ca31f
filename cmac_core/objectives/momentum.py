"""The key model: a copy that follows the query model slowly and batch-normalises other company (METHOD 5)."""

import torch
from torch import Tensor, nn

from cmac_core.data.draws import Purpose, generator
from cmac_core.distributed import exchange_rows, gather_rows, world_size
from cmac_core.models.branch import Branch, Modality, Side


def key_model(query: Branch, key: Branch) -> Branch:
    """`key`, made an exact and frozen copy of f, g and head of `query`."""
    wanted = query.state_dict()
    key.load_state_dict({name: wanted[name] for name in key.state_dict()})
    return key.requires_grad_(False)


@torch.no_grad()
def follow(key: nn.Module, query: nn.Module, m: float) -> None:
    """p_k = m p_k + (1 - m) p_q for all parameters of the key model, BN's weights included, its buffers not."""
    theirs = dict(query.named_parameters())
    own = dict(key.named_parameters())
    torch._foreach_lerp_(list(own.values()), [theirs[name] for name in own], 1 - m)


def shuffled_order(clips: int, seed: int, step: int) -> Tensor:
    """The permutation of the global batch for this step's key forward; the same on every rank."""
    order = generator(seed, 0, step, Purpose.key_order).permutation(clips)
    return torch.from_numpy(order)


@torch.no_grad()
def key_sides(key: Branch, clips: dict[Modality, Tensor], order: Tensor | None) -> dict[Modality, Side]:
    """What the key model says of this rank's share of the global batch, in another order where one is given.

    With an `order`, clips change places (and ranks) before the key model, so that its BN groups are not the
    query's and say nothing about which key belongs to which query.
    """
    if order is not None:
        clips = {name: exchange_rows(_as_sent(rows), order) for name, rows in clips.items()}
    return key(clips.get("video"), clips.get("audio")).sides()


@torch.no_grad()
def gather_keys(sides: dict[Modality, Side], order: Tensor | None) -> dict[Modality, Tensor]:
    """Embeddings of all ranks' clips, put back into global order: (ranks * B, D) fp32 for each modality."""
    back = None if order is None else order.argsort()
    keys: dict[Modality, Tensor] = {}
    for name, side in sides.items():
        assert side.embedding is not None
        rows = gather_rows(side.embedding)
        keys[name] = rows if back is None else rows[back.to(rows.device)]
    return keys


@torch.no_grad()
def put_back(side: Side, order: Tensor | None) -> Side:
    """Map and kernel of this rank's own clips, which the key model saw in another order (A8)."""
    if order is None:
        return side
    back = order.argsort()
    return Side(exchange_rows(side.filtered, back), exchange_rows(side.kernel, back), None, None)


def _as_sent(clips: Tensor) -> Tensor:
    """What travels between ranks: under autocast the first convolution would round to its type anyway."""
    if world_size() > 1 and torch.is_autocast_enabled(clips.device.type):
        return clips.to(torch.get_autocast_dtype(clips.device.type))
    return clips
