"""Who lives, whose child is whose, and that nobody survives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from worker import processes
from worker.processes import Identity, descendants, identify, kill_all, lives

FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"],
    start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
open("child.pid", "w").write(str(child.pid))
time.sleep(60)
"""


def wait_until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_a_process_is_known_by_more_than_its_pid() -> None:
    me = identify(os.getpid())
    assert lives(me)
    assert not lives(me._replace(start=me.start + 1)), "another process with the same pid"
    assert not lives(me._replace(boot_id="before")), "from before a reboot"
    assert not lives(me._replace(pid_ns=me.pid_ns + 1)), "of another container"


def test_a_process_that_waits_to_be_reaped_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(child.pid)
    assert lives(identity)
    child.kill()
    wait_until(lambda: not lives(identity))
    child.communicate()


def test_a_name_with_brackets_and_spaces_is_read() -> None:
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) R (b', 0, 0, 0); print(1, flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    entry = processes.entry_of(child.pid)
    assert entry is not None
    assert entry.parent == os.getpid()
    child.communicate(b"\n")


def test_boot_time_goes_on_and_is_not_the_clock() -> None:
    first = processes.boottime()
    time.sleep(0.01)
    assert 0.005 < processes.boottime() - first < 1


def test_descendants_are_found_over_sessions(spawn: Callable[[str], "subprocess.Popen[bytes]"], tmp_path: Path) -> None:
    child = spawn(FAMILY)
    wait_until((tmp_path / "child.pid").exists)
    wait_until((tmp_path / "child.pid").read_text)
    grandchild = int((tmp_path / "child.pid").read_text())
    assert {child.pid, grandchild} <= set(descendants(os.getpid()))
    assert kill_all(lambda: [pid for pid in descendants(os.getpid()) if pid in (child.pid, grandchild)])
    assert not lives(Identity(child.pid, 0, processes.pid_namespace(), processes.boot_id()))


def test_who_ignores_sigterm_is_killed_all_the_same(spawn: Callable[[str], "subprocess.Popen[bytes]"]) -> None:
    child = spawn("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    assert kill_all(lambda: [child.pid] if child.poll() is None else [])
    assert child.wait() == -signal.SIGKILL


def test_giving_up_on_a_process_that_cannot_be_killed() -> None:
    assert not kill_all(lambda: [2**22 + 1], patience=0.05)  # above pid_max: always "found", never there


def test_a_parent_takes_its_child_along(spawn: Callable[[str], "subprocess.Popen[bytes]"], tmp_path: Path) -> None:
    parent = spawn(
        "import os, signal, subprocess, sys, time\n"
        "from worker.processes import dying_with\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "    preexec_fn=dying_with(os.getpid(), signal.SIGTERM))\n"
        "open('child', 'w').write(str(child.pid)); time.sleep(60)\n"
    )
    wait_until((tmp_path / "child").exists)
    wait_until((tmp_path / "child").read_text)
    child = identify(int((tmp_path / "child").read_text()))
    parent.kill()
    parent.wait()
    wait_until(lambda: not lives(child))
