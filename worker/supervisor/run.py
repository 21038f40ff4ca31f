"""One attempt from adoption to its end."""

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cmac_core.retention import CHECKPOINTS, remove_drafts
from store import attempts, fence
from store.attempts import Work
from store.ends import STOPPED, Reason, Verdict
from store.errors import Fenced
from store.fence import Lease
from store.log_files import log_file
from store.settings import LeaseTimes, settings
from store.states import NodeState, StopFor
from store.tables import Node
from worker import here, inventory
from worker.logs import bound
from worker.patience import Unreachable, insist
from worker.processes import become_subreaper, boottime, dying_with, identify
from worker.settings import locks_folder, worker_settings
from worker.supervisor import command, verdict
from worker.supervisor.command import Meeting
from worker.supervisor.curves import Curves
from worker.supervisor.hang import Hung, Watch, keep_stacks
from worker.supervisor.leaving import Leaving, kill_attempt
from worker.supervisor.lines import words
from worker.supervisor.locks import Busy, held
from worker.supervisor.preparation import DEVICE_PATIENCE, Refused, busy_gpus, prepare, wait_for_devices
from worker.supervisor.recorder import Beat, Recorder
from worker.supervisor.supervise import Answer, End, Pace, supervise

log = logging.getLogger(__name__)

TRAININGS = ("pretrain", "finetune")  # kinds that run as a rank a device

HUNG_HINT = "The artifact `stacks` shows where each rank stood."

Core = Callable[[str, int, Path, Path, Meeting | None], Sequence[str]]  # kind, ranks, spec, folder -> command line


def attend(lease: Lease, core: Core = command.command) -> None:
    """Stay with one part of an attempt until the database has heard of its end. `core` makes its command line."""
    become_subreaper()
    with bound(attempt=lease.attempt, epoch=lease.epoch):
        me = identify(os.getpid())
        try:
            work = insist(lambda session: attempts.adopt(session, lease, *me))
        except Fenced as fenced:
            log.info("not mine: %s", fenced)  # and nothing here is mine to kill: another supervisor may be at work
            return
        with bound(job=work.job_id):
            Attendance(work, core).run()


class Attendance:
    """What one supervisor does, in order."""

    def __init__(self, work: Work, core: Core) -> None:
        times = settings().times
        self.work, self.core, self.mark = work, core, here.mark(work.lease)
        self.uuids = frozenset(device.uuid for device in work.devices if device.uuid)
        self.recorder = Recorder(work.lease, work.folder, work.events_offset, work.grace_s, beats(times))
        self.watch = Watch(worker_settings().hung_s)
        self.log = log_file(work.folder, work.lease.part)
        self.curves = Curves(work.folder, self.uuids, self.recorder.beat.sample)

    def run(self) -> None:
        """From the locks to the last transaction. Whatever happens, nothing of the attempt outlives this."""
        try:
            with held(locks_folder(), self._locks(), patience=settings().times.scaled(10)):
                self._close(self._train(self._start()))
        except Stopped:
            self._end(lambda stop_for: Verdict(STOPPED[stop_for or StopFor.drain], "It had not started yet."))
        except Busy as busy:
            text = f"Another process of this machine still holds {busy}."
            self._end(lambda _: Verdict(Reason.launch_rejected, text))
        except Refused as refused:
            reason, detail, hint = refused.reason, refused.detail, refused.hint
            self._end(lambda _: Verdict(reason, detail, hint))
        except Fenced as fenced:
            log.warning("given up: %s", fenced)
        finally:
            kill_attempt(self.mark)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._obey()
        spec = prepare(self.work, worker_settings().min_free_mb)
        wait_for_devices(self.work, self._obey)
        endpoint = self._endpoint()
        insist(lambda session: attempts.ready(session, self.work.lease, endpoint))
        return self._spawn(spec, self._await_go())

    def _train(self, child: "subprocess.Popen[bytes]") -> "Ran":
        kills = inventory.oom_kills()
        leaving = Leaving(child, self.work.folder, self.mark)
        # The machine goes down, or someone wants this run elsewhere: save, and go on there.
        signal.signal(signal.SIGTERM, lambda *_: leaving.by(boottime() + self.work.grace_s))
        try:
            end = supervise(child, self._tick, leaving, self._pace())
        except Hung as hung:
            return Ran(self._end_hung(child), hung=str(hung))
        return Ran(end, oom_killed=inventory.oom_kills() > kills)

    def _tick(self) -> Answer | None:
        if self.work.lease.part == 0:
            self.recorder.extra += self.curves.sample(self.recorder.step)
        answer = self.recorder()
        self.watch.see(self.recorder.progress, time.monotonic())
        return answer

    def _end_hung(self, child: "subprocess.Popen[bytes]") -> End:
        stacks = keep_stacks(self.work.folder, self.mark, self.log)
        self.recorder.extra += [stacks] if stacks else []
        kill_attempt(self.mark)
        return End(child.wait())

    def _close(self, ran: "Ran") -> None:
        while not kill_attempt(self.mark):
            log.error("a process cannot be killed; its devices stay taken")
            self._beat()
        if self.work.lease.part == 0:
            remove_drafts(self.work.folder / CHECKPOINTS)
        self._await_empty_devices()
        said, tail = words(self.work.folder), verdict.tail_of(self.log)
        if ran.end.self_fenced:
            text = "The database was away for too long; the run was ended so that another machine may have it."
            self._end(lambda _: Verdict(Reason.self_fenced, text), ran.end.code)
        elif ran.hung:
            self._end(lambda _: Verdict(Reason.hung, ran.hung, HUNG_HINT), ran.end.code, tail)
        else:
            code, killed = ran.end.code, ran.oom_killed
            late = self.recorder.out_of_time

            def judge(stop_for: StopFor | None) -> Verdict:
                if self.work.lease.part and code == 0 and said.ended is None:
                    return Verdict(Reason.ok)  # part 0 tells how the run ended, perhaps a moment later
                return verdict.judge(code, said, stop_for, oom_killed=killed, tail=tail, out_of_time=late)

            self._end(judge, code, tail)

    def _end(self, judge: Callable[[StopFor | None], Verdict], code: int | None = None, tail: str = "") -> None:
        def close(session: Session, stop_for: StopFor | None) -> None:
            why = judge(stop_for)
            attempts.finish(session, self.work.lease, why.reason, code, why.detail, why.hint, tail)
            log.info("ended", extra={"data": {"reason": why.reason, "detail": why.detail, "code": code}})

        try:
            self.recorder.finish(close)
        except Fenced as fenced:
            log.warning("given up before the end was told: %s", fenced)

    def _locks(self) -> list[str]:
        devices = [f"{device.kind}-{device.uuid or device.index}" for device in self.work.devices]
        return [f"job-{self.work.job_id}", *devices]

    def _obey(self) -> None:
        """A heartbeat before the run is there. Raises Stopped when it need not come."""
        answer = self._beat()
        if answer is not None and answer.stop:
            raise Stopped

    def _beat(self) -> Answer | None:
        try:
            return self.recorder()
        except Unreachable:
            return None

    def _endpoint(self) -> str | None:
        """A free port of this machine, on the first of several."""
        if self.work.nodes == 1 or self.work.lease.part:
            return None
        with socket.create_server((here.address(), 0)) as free:
            return f"{here.address()}:{free.getsockname()[1]}"

    def _await_go(self) -> Meeting | None:
        """The barrier: all machines of the attempt are ready. How they meet, where they are several."""
        while (orders := insist(lambda session: fence.orders(session, self.work.lease))).go_at is None:
            self._obey()
            time.sleep(0.2)
        self._obey()
        if self.work.nodes == 1:
            return None
        lease = self.work.lease
        assert orders.rdzv_endpoint is not None  # written with part 0's being ready
        name = f"{lease.attempt}-{lease.epoch}"
        return Meeting(name, self.work.nodes, lease.part, orders.rdzv_endpoint, here.address())

    def _await_empty_devices(self) -> None:
        until = time.monotonic() + DEVICE_PATIENCE
        while (busy := busy_gpus(self.uuids)) and time.monotonic() < until:
            self._beat()
            time.sleep(1.0)
        if busy:
            log.error("devices are not empty: %s", "; ".join(busy))  # the node loop reports them, none is offered

    def _spawn(self, spec: Path, meeting: Meeting | None) -> "subprocess.Popen[bytes]":
        ranks = len(self.work.devices) if self.work.kind in TRAININGS else 1
        gpus = [device.uuid for device in self.work.devices if device.uuid]
        machine_slots = len(inventory.gpus()) if gpus else here.slots(len(inventory.gpus()))
        threads = command.threads_per_rank(ranks, len(self.work.devices), machine_slots, inventory.cores())
        interface = inventory.interface_of(meeting.address) if meeting else None
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.core(self.work.kind, ranks, spec, self.work.folder, meeting),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.work.folder,
                env=command.environment(self.mark, threads, gpus, os.environ, interface),
                # Bound to this thread, which is the process's only one: when it dies, the run saves and leaves.
                preexec_fn=dying_with(os.getpid(), signal.SIGTERM),
            )

    def _pace(self) -> Pace:
        """Fencing is for machines that can be cut off from each other: with one node its own locks are enough."""
        policy, times = worker_settings().on_partition, settings().times
        if policy == "auto":
            policy = "fence" if insist(count_nodes) > 1 else "keep_running"
        return Pace(quiet=0.7 * times.fence, fence=times.fence) if policy == "fence" else Pace()


class Stopped(Exception):
    """Nobody wants it to start any more."""


@dataclass(frozen=True)
class Ran:
    end: End
    oom_killed: bool = False
    hung: str = ""  # since when it had not stepped


def beats(times: LeaseTimes) -> Beat:
    """How often to talk under these lease times."""
    usual, most = Beat(), times.heartbeat
    return Beat(min(usual.watched, most), min(usual.ask, most), min(usual.tell, most), heartbeat=most)


def count_nodes(session: Session) -> int:
    """Machines that could own a job."""
    query = select(func.count()).select_from(Node).where(Node.state != NodeState.lost)
    return session.scalar(query) or 0
