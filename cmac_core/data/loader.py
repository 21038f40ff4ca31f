"""Windows of the clips of each step, in order: decoding goes on ahead, and broken clips are replaced for good.

Nothing here depends on the number of ranks or workers: what a clip shows is drawn from (seed, train_epoch, index).
"""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmac_core.data.dataset import PackedDataset, window_bounds
from cmac_core.data.manifest import Clip
from cmac_core.data.memory import Memory, decoded_bytes
from cmac_core.data.raw_batch import RawBatch
from cmac_core.data.sampler import Position, Sampler, stand_ins, start_draw
from cmac_core.data.windows import BrokenClip, Window, read_windows
from cmac_core.events import Replaced
from cmac_core.training.errors import DataError
from cmac_core.training.signals import ASK, ignore_in_worker

AHEAD = 2  # batches decoded before they are needed


class Cut(NamedTuple):
    """What is cut out of a clip: METHOD 4's window of `frames` / `fps` seconds."""

    frames: int
    fps: float
    sample_rate: int
    video: bool = True
    audio: bool = True

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


class Request(NamedTuple):
    """The windows wanted of the video at `place` of the eligible ones; `source` is the dataset's clip that is read."""

    place: int
    source: int
    path: Path
    clip: Clip
    starts: tuple[float, ...]


class Decoded(NamedTuple):
    """What a worker made of a batch's requests; `broken` tells by position which files could not be read, and why."""

    requests: list[Request]
    pixels: Tensor
    sizes: list[tuple[int, int]]
    sound: Tensor
    broken: dict[int, str]


Planned = tuple[int, list[Request]]  # train_epoch and what to read in it
Read = tuple[int, Decoded]


class Loader:
    """Batches of one rank from `position` on, `steps` of them. Iterate once."""

    def __init__(
        self,
        dataset: PackedDataset,
        eligible: Sequence[int],
        sampler: Sampler,
        cut: Cut,
        *,
        clips_per_video: int = 1,
        same_window: bool = False,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        retry_chain: int = 10,
        pin: bool = False,
        memory_bytes: float = 0,
    ) -> None:
        """`eligible` are the indices of the dataset's clips that may be shown; the sampler counts these.

        A sampler of k times as many videos shows each k times in a pass, with draws of their own.
        With `same_window` the clips of a video are one window, augmented with draws of their own.
        A set that takes no more than `memory_bytes` when it is decoded is decoded once, if no workers do it.
        """
        self.dataset, self.eligible, self.sampler, self.cut = dataset, eligible, sampler, cut
        self.clips_per_video, self.rank, self.ranks, self.workers = clips_per_video, rank, ranks, workers
        self.same_window, self.retry_chain, self.pin = same_window, retry_chain, pin
        size = decoded_bytes([dataset.clips[i] for i in eligible], cut.video, cut.audio)
        self.memory = Memory(cut.video, cut.audio) if not workers and size <= memory_bytes else None
        self.replaced: list[Replaced] = []  # since the trainer last took them
        self.waited = 0.0  # seconds that the training stood still for data

    def batches(self, position: Position, steps: int) -> Iterator[RawBatch]:
        """The next `steps` batches from `position` on. Raises DataError when a broken clip has no stand-in."""
        plan = self._plan(position, steps)
        decoded = self._by_workers(plan) if self.workers else self._by_thread(plan)
        while True:
            since = time.perf_counter()
            read = next(decoded, None)
            self.waited += time.perf_counter() - since
            if read is None:
                return
            batch = self._whole(*read)
            yield batch.pin_memory() if self.pin else batch

    def _plan(self, position: Position, steps: int) -> Iterator[Planned]:
        for _ in range(steps):
            chosen = self.sampler.batch(position, self.rank, self.ranks)
            requests = [self._request(position.train_epoch, int(i), self.eligible[self._video(i)]) for i in chosen]
            yield position.train_epoch, requests
            position = self.sampler.after(position)

    def _request(self, train_epoch: int, place: int, source: int) -> Request:
        """What to read for the video at `place`. A stand-in keeps that place's draws: no clip shows up twice alike."""
        clip, index = self.dataset.clips[source], self.eligible[self._video(place)]
        low, high = window_bounds(clip, self.cut.seconds, self.cut.video, self.cut.audio)
        takes = [0 if self.same_window else take for take in self._takes(place)]
        draws = (start_draw(self.sampler.seed, train_epoch, index, take) for take in takes)
        starts = tuple(low + draw * (high - low) for draw in draws)
        return Request(place, source, self.dataset.path(clip), clip, starts)

    def _video(self, place: int) -> int:
        """Which of the eligible clips a place of the sampler stands for."""
        return place % len(self.eligible)

    def _takes(self, place: int) -> range:
        """The takes of that clip: those of the first round through all of them come first."""
        first = place // len(self.eligible) * self.clips_per_video
        return range(first, first + self.clips_per_video)

    def _by_thread(self, plan: Iterator[Planned]) -> Iterator[Read]:
        """Decode in a thread: PyAV frees the interpreter while it works."""
        with ThreadPoolExecutor(1, "decode") as pool:
            ahead: deque[tuple[int, Future[Decoded]]] = deque()
            try:
                for train_epoch, requests in plan:
                    ahead.append((train_epoch, pool.submit(decode, requests, self.cut, self.memory)))
                    if len(ahead) > AHEAD:
                        yield ahead[0][0], ahead.popleft()[1].result()
                while ahead:
                    yield ahead[0][0], ahead.popleft()[1].result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _by_workers(self, plan: Iterator[Planned]) -> Iterator[Read]:
        """Decode in processes. Spawned, because a fork of threads that decode may never wake (PyAV #1962)."""
        loader: DataLoader[Any] = DataLoader(
            _Decoding(self.cut),
            batch_sampler=_Batches(plan),
            num_workers=self.workers,
            collate_fn=_as_is,
            worker_init_fn=_begin_worker,
            multiprocessing_context="spawn",
            prefetch_factor=AHEAD,
            generator=torch.Generator(),  # else it would draw from the training's
        )
        yield from _received(_born_deaf(loader))

    def _whole(self, train_epoch: int, decoded: Decoded) -> RawBatch:
        """The batch with stand-ins for what could not be read."""
        if decoded.broken:
            decoded = self._mended(train_epoch, decoded)
        return RawBatch(
            decoded.pixels,
            decoded.sizes,
            decoded.sound,
            [
                (self.eligible[self._video(request.place)], take)
                for request in decoded.requests
                for take in self._takes(request.place)
            ],
            torch.tensor([request.source for request in decoded.requests for _ in range(self.clips_per_video)]),
            train_epoch,
            self.cut.frames,
        )

    def _mended(self, train_epoch: int, decoded: Decoded) -> Decoded:
        requests = [
            self._stand_in(train_epoch, request, decoded.broken[i]) if i in decoded.broken else request
            for i, request in enumerate(decoded.requests)
        ]
        again = decode(requests, self.cut)
        assert not again.broken, "a stand-in was read a moment ago"
        return again

    def _stand_in(self, train_epoch: int, request: Request, reason: str) -> Request:
        """The first clip of the broken one's chain that can be read."""
        chain = stand_ins(self.sampler.seed, self._video(request.place), len(self.eligible), self.retry_chain)
        for source in (self.eligible[place] for place in chain):
            other = self._request(train_epoch, request.place, source)
            if not decode([other], self.cut).broken:
                self.replaced.append(Replaced(index=request.source, by=source, clip=request.clip.id, reason=reason))
                return other
        raise DataError(
            f"{request.clip.id} cannot be read ({reason}), nor can the {len(chain)} clips that should stand in for it",
            "Pack the dataset again; its quarantine list will say what is wrong.",
        )


def decode(requests: list[Request], cut: Cut, memory: Memory | None = None) -> Decoded:
    """Read the windows of these requests; one that cannot be read leaves a gap and a reason."""
    read: list[Window] = []
    broken: dict[int, str] = {}
    for i, request in enumerate(requests):
        try:
            if memory is None:
                read += read_windows(request.path, request.clip, request.starts, **cut._asdict())
            else:
                read += memory.windows(request.path, request.clip, request.starts, cut.frames, cut.fps)
        except BrokenClip as error:
            broken[i] = str(error)
    pictures = [window.frames for window in read if window.frames is not None]
    sounds = [window.sound for window in read if window.sound is not None]
    return Decoded(
        requests,
        torch.from_numpy(np.concatenate([picture.reshape(-1) for picture in pictures] or [np.zeros(0, np.uint8)])),
        [picture.shape[1:3] for picture in pictures],
        torch.from_numpy(np.stack(sounds)) if sounds else torch.zeros(len(read), 0, dtype=torch.int16),
        broken,
    )


def _received(batches: Iterator[Read]) -> Iterator[Read]:
    """The same, each taken over in a thread while the one before is in use.

    A worker hands its memory over when it gets to it between two frames, which takes some 45 ms for 16 clips.
    """
    pool = ThreadPoolExecutor(1, "receive")
    try:
        coming = pool.submit(next, batches, None)
        while (read := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield read
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Batches:
    """The plan as DataLoader wants it: something that it may iterate."""

    def __init__(self, plan: Iterator[Planned]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[list[Planned]]:
        return ([item] for item in self._plan)


class _Decoding(Dataset[Read]):
    """A dataset whose index is a whole batch of requests."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut

    def __getitem__(self, item: Planned) -> Read:
        return item[0], decode(item[1], self._cut)


def _as_is(items: list[Read]) -> Read:
    return items[0]


def _begin_worker(_: int) -> None:
    ignore_in_worker()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASK)


def _born_deaf(loader: "DataLoader[Any]") -> Iterator[Read]:
    """Start the workers with this process's signals held back, so that none can die of one while it starts.

    Signals that come meanwhile wait, and are taken afterwards.
    """
    resource_tracker.ensure_running()  # it would let the signals through again
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ASK)
    try:
        batches = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return batches
