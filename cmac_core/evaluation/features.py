"""Features of frozen encoders: each video decoded once, each map computed once, pooled in every way asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.windows import Window
from cmac_core.evaluation.showing import Preparation, Shown, ahead
from cmac_core.specs.jobs import Precision
from cmac_core.training.precision import autocast
from cmac_core.training.run import Run


# Shape suffixes: V videos, n clips a video, B clips, D features.
class Seen(NamedTuple):
    """A batch of clips, as decoded and as the encoders take it."""

    windows: Sequence[Window]
    shown: Shown


View = Callable[[Seen], Mapping[str, Tensor]]  # features (B, D) of a batch, by name
Reduce = Callable[[Tensor], Tensor]  # features of one video's clips (n, D) to what is kept of them


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


def encoder_view(name: str, encoder: nn.Module, modality: str, pools: Sequence[str], precision: Precision) -> View:
    """Pooled maps of a frozen encoder, named `name/pool`."""
    encoder.eval()

    def view(seen: Seen) -> dict[str, Tensor]:
        clips = seen.shown.frames if modality == "video" else seen.shown.spectrogram
        assert clips is not None
        with autocast(precision, clips.device):
            feature_map = encoder(clips)
        return {f"{name}/{pool}": pooled(feature_map, pool) for pool in pools}

    return view


def extract(
    run: Run,
    dataset: PackedDataset,
    n_clips: int,
    batch: int,
    prepare: Preparation,
    views: Sequence[View],
    reduce: Reduce = lambda clips_nD: clips_nD,
) -> dict[str, Tensor]:
    """Features of all videos by name, (V, ...) on the run's device. Raises Left when asked to, DataError."""
    kept: dict[str, list[Tensor]] = {}
    done, total = 0, len(dataset.clips) * n_clips
    run.progress("features", done, total, "clips")
    for windows in _batches(dataset, n_clips, batch, prepare):
        run.leave_if_asked()
        for name, rows_BD in _features(windows, batch, prepare, views).items():
            kept.setdefault(name, []).extend(reduce(video_nD) for video_nD in rows_BD.split(n_clips))
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
            for name, rows in view(seen).items():
                parts.setdefault(name, []).append(rows)
    return {name: torch.cat(rows) for name, rows in parts.items()}
