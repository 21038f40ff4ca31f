"""Features kept between evaluations of the same networks on the same data by the same protocol.

An entry is found by the hash of everything that it depends on, so it is never stale: what changes makes another key.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmac_core.specs.references import CACHE
from cmac_core.training.checkpoint_files import FULL
from cmac_core.training.run import Run

LIMIT = 20 * 10**9  # bytes; the entries that were not used for longest go first
SUFFIX, DRAFT = ".features", ".tmp"
ABANDONED_S = 86_400.0  # drafts older than this are of a process that was killed


@dataclass(frozen=True)
class FeatureCache:
    """A folder that any number of evaluations may share."""

    run: Run
    folder: Path
    limit: int = LIMIT

    def get(self, identity: Mapping[str, Any]) -> Tensor | None:
        """What was put under this identity, on the run's device. A damaged entry is removed, and said so."""
        path = self._path(identity)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if head.decode(errors="replace") != hashlib.sha256(body).hexdigest():
            self.run.warn("features_damaged", f"{path} is not what was written; its features are computed again")
            path.unlink(missing_ok=True)
            return None
        os.utime(path)  # it was used
        found: Tensor = torch.load(io.BytesIO(body), map_location=self.run.device, weights_only=True)
        return found

    def put(self, identity: Mapping[str, Any], rows: Tensor) -> None:
        """Keep features. They appear whole or not at all; without room they are not kept, which is said."""
        buffer = io.BytesIO()
        torch.save(rows.cpu(), buffer)
        body = buffer.getbuffer()
        if body.nbytes > self.limit:
            return
        path = self._path(identity)
        draft = path.with_suffix(f".{os.getpid()}{DRAFT}")
        try:
            with draft.open("wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n")
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            if error.errno not in FULL:
                raise
            self.run.warn("features_not_kept", f"no room for {body.nbytes / 1e6:.0f} MB of features in {self.folder}")
        self._make_room()

    def _path(self, identity: Mapping[str, Any]) -> Path:
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}{SUFFIX}"

    def _make_room(self) -> None:
        """Remove what was not used for longest, down to the limit. Others may do the same at the same time."""
        for draft in self.folder.glob(f"*{DRAFT}"):
            if _age(draft) > ABANDONED_S:
                draft.unlink(missing_ok=True)
        entries = sorted(self.folder.glob(f"*{SUFFIX}"), key=_age)
        kept = 0
        for entry in entries:
            try:
                kept += entry.stat().st_size
            except FileNotFoundError:
                continue
            if kept > self.limit:
                entry.unlink(missing_ok=True)


def feature_cache(run: Run) -> FeatureCache | None:
    """The cache that the run was given under the key `cache` of its inputs; None without."""
    if CACHE not in run.inputs:
        return None
    folder = run.inputs[CACHE].path
    folder.mkdir(parents=True, exist_ok=True)
    return FeatureCache(run, folder)


def _age(path: Path) -> float:
    """Seconds since a file was used."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
