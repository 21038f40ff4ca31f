"""Bytes by their sha256: nothing is kept that is not what it was named by."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from client.errors import BadDownload

if TYPE_CHECKING:
    from client.connection import Connection

Told = Callable[[int], None]


def fetch(connection: "Connection", url: str, sha256: str | None = None) -> bytes:
    """The bytes at an artifact's address. Without `sha256` the address' own is checked. Raises BadDownload."""
    data = connection.get(url).content
    _check(hashlib.sha256(data).hexdigest(), url, sha256)
    return data


def download(connection: "Connection", url: str, sha256: str | None, target: Path, told: Told | None = None) -> Path:
    """Stream to `target`, which appears only once it is whole and right. Raises BadDownload, ServiceAway.

    `told` hears the number of bytes of each block.
    """
    part = _part(target)
    digest = hashlib.sha256()
    try:
        with connection.stream(url) as response, part.open("wb") as file:
            for block in response.iter_bytes():
                digest.update(block)
                file.write(block)
                if told is not None:
                    told(len(block))
        _check(digest.hexdigest(), url, sha256)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def write_whole(target: Path, data: bytes) -> Path:
    """Write to `target`, which appears only once it is whole."""
    part = _part(target)
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _part(target: Path) -> Path:
    """Where a file grows, in a folder that is made for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.{os.getpid()}.part")


def _check(got: str, url: str, sha256: str | None) -> None:
    named = re.search(r"/artifacts/([0-9a-f]{64})$", url.partition("?")[0])
    expected = sha256 or (named.group(1) if named else None)
    if expected is not None and got != expected:
        raise BadDownload(f"{url}: the bytes have sha256 {got[:12]}…, not {expected[:12]}…; try again")
