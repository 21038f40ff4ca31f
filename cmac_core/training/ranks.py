"""The processes of one run: how they meet, how they agree to leave, and how one that fails takes the others along.

torchrun ends the other ranks a moment after one has failed, and says only that it did. So a rank that
fails leaves its reason in the rendezvous store, which lives in torchrun itself; rank 0 records it, then all go.
"""

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from cmac_core.events import FAILED, LEFT, Ended
from cmac_core.training.ending import broke_in_a_collective, ended_by

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

COLLECTIVE_TIMEOUT = timedelta(minutes=5)  # a rank that does not answer for this long counts as hung
REASON_S = 5.0  # how long rank 0 waits for the reason of a rank that went away
RECORDED_S = 15.0  # how long a failed rank waits for rank 0 to write its reason down
SAVED_S = 600.0  # how long ranks that leave wait for rank 0's checkpoint
LOOK_S = 0.5

_FAILED, _RECORDED, _DONE, _GONE, _BYE = "failed", "recorded", "done", "gone", "bye"


class Place(NamedTuple):
    """Where this process stands among the ranks, as torchrun's environment tells."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> "Place":
        """One rank alone when no launcher set the environment."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, cls(), strict=True)))


class Ranks:
    """The run's process group and a store beside it. With one rank all of it is nothing."""

    def __init__(self, place: Place, record: Callable[[Ended], None]) -> None:
        """`record` writes the last event; it is called on rank 0 only, once."""
        self.place = place
        self._record = record
        self._ended = threading.Lock()
        self._store: Store | None = None

    def join(self, gpu: bool) -> None:
        """Meet the other ranks. CPU tensors go by gloo, a GPU's by NCCL."""
        if self.place.world_size == 1:
            return
        from torch import distributed

        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        self._store = self._connect()
        distributed.init_process_group(
            backend,
            store=self._connect(),
            rank=self.place.rank,
            world_size=self.place.world_size,
            timeout=COLLECTIVE_TIMEOUT,
        )
        threading.Thread(target=self._watch, args=(self._connect(),), daemon=True, name="watch-ranks").start()

    def part(self) -> None:
        """Take the process group down; nothing collective may follow."""
        from torch import distributed

        if self.place.world_size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def finish(self) -> int:
        """End well: when all ranks have come this far, rank 0 writes Ended; the others wait for that."""
        self.part()
        if self._store is None:
            self._end(Ended(outcome="finished"))
        elif self.place.rank == 0:
            others = [f"{_DONE}/{rank}" for rank in range(1, self.place.world_size)]
            self._store.wait(others, COLLECTIVE_TIMEOUT)
            self._end(Ended(outcome="finished"))
            self._dismiss(self._store)
        else:
            self._store.set(f"{_DONE}/{self.place.rank}", "")
            self._await_dismissal(self._store)
        return self._exit(0)

    def leave(self) -> int:
        """End as asked: rank 0, which has saved, writes Ended; the others wait for that."""
        self.part()
        self._end(Ended(outcome="left"))
        if self._store is not None and self.place.rank == 0:
            self._dismiss(self._store)
        elif self._store is not None:
            self._await_dismissal(self._store)
        return self._exit(LEFT)

    def fail(self, error: BaseException) -> int:
        """End because of an error on this rank, or because of the error that another rank told."""
        ended = ended_by(error)
        if self._store is None:
            if self.place.rank == 0:
                self._end(ended)
            return FAILED
        if broke_in_a_collective(error):
            ended = self._told(self._store) or ended
        self._store.compare_set(_FAILED, "", ended.model_dump_json())
        if self.place.rank == 0:
            self._end(ended)
            self._store.set(_RECORDED, "")
        else:
            self._wait(self._store, _RECORDED, RECORDED_S)
        return self._exit(FAILED)

    def _connect(self) -> "Store":
        from torch._C._distributed_c10d import PrefixStore, TCPStore  # torch.distributed re-exports them untyped

        # torchrun's agent keeps the store, so it outlives any rank; started by other means rank 0 keeps it.
        agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        first = self._store is None and self.place.rank == 0
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            self.place.world_size,
            is_master=first and not agent,
            timeout=COLLECTIVE_TIMEOUT,
            wait_for_workers=False,
        )
        return PrefixStore(f"cmac/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)

    def _watch(self, store: "Store") -> None:
        """Look for a failed rank: this one may sit in a collective that will never end."""
        stop = threading.Event()
        while not stop.wait(LOOK_S):
            try:
                if not store.check([_FAILED]):
                    continue
                ended = Ended.model_validate_json(store.get(_FAILED))
            except RuntimeError:  # the launcher is gone, and the store with it: whoever started us ends us
                return
            if self.place.rank == 0:
                self._end(ended)
                store.set(_RECORDED, "")
            else:
                self._wait(store, _RECORDED, RECORDED_S)
            self._exit(FAILED)

    def _told(self, store: "Store") -> Ended | None:
        if not self._wait(store, _FAILED, REASON_S):
            return None
        return Ended.model_validate_json(store.get(_FAILED))

    def _end(self, ended: Ended) -> None:
        """Write the last event, once, from whichever thread comes first."""
        if self._ended.acquire(blocking=False) and self.place.rank == 0:
            self._record(ended)

    def _dismiss(self, store: "Store") -> None:
        """Let the others go, and outlive them a little: without torchrun the store is in this process."""
        store.set(_GONE, "")
        for rank in range(1, self.place.world_size):
            self._wait(store, f"{_BYE}/{rank}", REASON_S)

    def _await_dismissal(self, store: "Store") -> None:
        if self._wait(store, _GONE, SAVED_S):
            store.set(f"{_BYE}/{self.place.rank}", "")

    @staticmethod
    def _wait(store: "Store", key: str, seconds: float) -> bool:
        try:
            store.wait([key], timedelta(seconds=seconds))
        except RuntimeError:  # too late, or the store is gone
            return False
        return True

    def _exit(self, code: int) -> int:
        """With other ranks half gone, destructors of open connections may wait for ever: leave at once."""
        if self.place.world_size > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        return code
