"""Features of frozen encoders: each video decoded once, each map computed once, pooled in every way asked for."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.manifest import MANIFEST, sha256_of
from cmac_core.data.windows import Window
from cmac_core.evaluation.feature_cache import feature_cache
from cmac_core.evaluation.showing import Preparation, Shown, ahead
from cmac_core.models.folding import without_norms
from cmac_core.models.fused import widened
from cmac_core.specs.jobs import Precision
from cmac_core.training.precision import autocast, resolve
from cmac_core.training.run import Run, versions


# Shape suffixes: V videos, n clips a video, B clips, D features.
class Seen(NamedTuple):
    """A batch of clips, as decoded and as the encoders take it."""

    windows: Sequence[Window]
    shown: Shown


class View(NamedTuple):
    """Something that has features (B, D) of a batch to offer, by these names.

    `identity` is all that they depend on besides the clips and how they are shown; without it none is cached.
    """

    names: tuple[str, ...]
    see: Callable[[Seen], Mapping[str, Tensor]]
    identity: Mapping[str, Any] | None = None


class Reduction(NamedTuple):
    """Features of one video's clips (n, D) to what is kept of them."""

    name: str
    of: Callable[[Tensor], Tensor]


EVERY_CLIP = Reduction("every clip", lambda clips_nD: clips_nD)


def pooled(feature_map: Tensor, pool: str) -> Tensor:
    """A map (B, C, ...) to (B, D), in fp32. Windows are clipped to the map where it is smaller than they are.

    `gap`: mean over the map. `max222`: max over blocks of 2 x 2 x 2 (METHOD 7.2). `max13`: max over 3 steps of
    time, every second one (METHOD 7.3).
    """
    feature_map = feature_map.float()
    sizes = feature_map.shape[2:]
    match pool:
        case "gap":
            return feature_map.flatten(2).mean(2)
        case "max222":
            return F.max_pool3d(feature_map, [min(2, size) for size in sizes]).flatten(1)
        case "max13":
            return F.max_pool2d(feature_map, (1, min(3, sizes[1])), (1, 2)).flatten(1)
        case _:
            raise AssertionError(f"no pool {pool}")


def encoder_view(
    name: str,
    encoder: nn.Module,
    modality: str,
    pools: Sequence[str],
    precision: Precision,
    identity: Mapping[str, Any] | None = None,
) -> View:
    """Pooled maps of a frozen encoder, named `name/pool`; `identity` tells which encoder it is."""
    folded = without_norms(encoder.eval())
    device = next(encoder.parameters()).device
    if device.type == "cuda":
        folded = widened(folded)
    if identity is not None:
        identity = {"encoder": identity, "modality": modality, "precision": resolve(precision, device)}

    def see(seen: Seen) -> dict[str, Tensor]:
        clips = seen.shown.frames if modality == "video" else seen.shown.spectrogram
        assert clips is not None
        with autocast(precision, clips.device):
            feature_map = folded(clips)
        return {f"{name}/{pool}": pooled(feature_map, pool) for pool in pools}

    return View(tuple(f"{name}/{pool}" for pool in pools), see, identity)


def extract(
    run: Run,
    dataset: PackedDataset,
    n_clips: int,
    batch: int,
    prepare: Preparation,
    views: Sequence[View],
    reduce: Reduction = EVERY_CLIP,
) -> dict[str, Tensor]:
    """Features of all videos by name, (V, ...) on the run's device. Raises Left when asked to, DataError.

    Where the run has a cache, what it holds is taken from there, to the bit, and what is computed is put there.
    """
    cache = feature_cache(run)
    keys = _keys(run, dataset, n_clips, batch, prepare, views, reduce) if cache else {}
    found = {name: rows for name, key in keys.items() if cache and (rows := cache.get(key)) is not None}
    missing = [view for view in views if any(name not in found for name in view.names)]
    if missing:
        computed = _compute(run, dataset, n_clips, batch, prepare, missing, reduce)
        for name, key in keys.items():
            if cache and name not in found:
                cache.put(key, computed[name])
        found |= computed
    return {name: found[name] for view in views for name in view.names}


def _keys(
    run: Run,
    dataset: PackedDataset,
    n_clips: int,
    batch: int,
    prepare: Preparation,
    views: Sequence[View],
    reduce: Reduction,
) -> dict[str, dict[str, Any]]:
    """What the features of each name depend on: networks, clips, protocol, and what computes them."""
    if prepare.identity is None:
        return {}
    ids = "\n".join(clip.id for clip in dataset.clips)
    common = {
        "manifest": sha256_of(dataset.folder / MANIFEST),
        "clips": hashlib.sha256(ids.encode()).hexdigest(),
        "n_clips": n_clips,
        "batch": batch,  # another batch may round otherwise
        "shown": prepare.identity,
        "kept": reduce.name,
        "device": run.device.type,
        "versions": versions(),
    }
    return {
        name: {**common, "view": view.identity, "feature": name.rpartition("/")[2]}
        for view in views
        if view.identity is not None
        for name in view.names
    }


def _compute(
    run: Run,
    dataset: PackedDataset,
    n_clips: int,
    batch: int,
    prepare: Preparation,
    views: Sequence[View],
    reduce: Reduction,
) -> dict[str, Tensor]:
    kept: dict[str, list[Tensor]] = {}
    done, total = 0, len(dataset.clips) * n_clips
    run.progress("features", done, total, "clips")
    for windows in _batches(dataset, n_clips, batch, prepare):
        run.leave_if_asked()
        for name, rows_BD in _features(windows, batch, prepare, views).items():
            kept.setdefault(name, []).extend(reduce.of(video_nD) for video_nD in rows_BD.split(n_clips))
        done += len(windows)
        run.progress("features", done, total, "clips")
    return {name: torch.stack(rows) for name, rows in kept.items()}


def _batches(dataset: PackedDataset, n_clips: int, batch: int, prepare: Preparation) -> Iterator[list[Window]]:
    """Windows of as many whole videos as a batch holds, one at least."""
    showing = prepare.showing
    decoded = ahead(lambda clip: showing.read(dataset, clip, showing.starts(clip, n_clips)), dataset.clips)
    waiting: list[Window] = []
    for windows in decoded:
        if waiting and len(waiting) + len(windows) > batch:
            yield waiting
            waiting = []
        waiting = [*waiting, *windows]
    if waiting:
        yield waiting


@torch.no_grad()
def _features(windows: Sequence[Window], batch: int, prepare: Preparation, views: Sequence[View]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        seen = Seen(some, prepare(some))
        for view in views:
            for name, rows in view.see(seen).items():
                parts.setdefault(name, []).append(rows)
    return {name: torch.cat(rows) for name, rows in parts.items()}
