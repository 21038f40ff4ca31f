"""Which files a shard packs: a stable share, the same on every machine and whatever other files there are."""

from collections.abc import Iterable
from hashlib import sha256

from cmac_core.data.sources import Item
from cmac_core.specs.packing import Shard


def share_of(items: Iterable[Item], shard: Shard | None) -> list[Item]:
    """The items of one shard; all of them without one."""
    return [item for item in items if shard is None or shard_of(item.id, shard.of) == shard.index]


def shard_of(id: str, of: int) -> int:
    """The shard, from 0, to which an id falls among `of`."""
    return int.from_bytes(sha256(id.encode()).digest()[:8]) % of
