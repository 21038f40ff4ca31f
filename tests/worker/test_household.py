"""The parent keeps its processes running and takes them along."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from worker.household import Member

FOREVER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_process_that_ended_is_started_again_after_a_pause() -> None:
    member = Member("test", [sys.executable, "-c", ""])
    member.look(0.0)
    assert member.process is not None
    member.process.wait()
    member.look(1.0)
    assert member.process is None
    member.look(1.5)
    assert member.process is None, "not at once: it ended at once"
    member.look(2.5)
    assert member.process is not None
    member.process.wait()


def test_a_long_run_is_no_failure() -> None:
    member = Member("test", FOREVER, failures=5)
    member.look(0.0)
    member.restart()
    assert member.process is not None
    member.process.wait()
    member.look(100.0)
    member.look(100.6)
    assert member.process is not None
    member.restart()
    member.process.wait()


def test_a_parent_killed_takes_its_processes_along(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        "import os, sys, time\n"
        "from worker.processes import dying_with\n"
        "dying_with(int(sys.argv[1]), 15)()\n"
        "open('pid', 'w').write(str(os.getpid())); time.sleep(60)\n"
    )
    program = (
        "import os, sys; from worker.household import Household, Member\n"
        "Household([Member('test', [sys.executable, 'child.py', str(os.getpid())])]).run()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    pid = tmp_path / "pid"
    until = time.monotonic() + 10
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    child = int(pid.read_text())
    while _runs(child):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_sigterm_stops_them_all(tmp_path: Path) -> None:
    program = (
        "import sys; from worker.household import Household, Member\n"
        'code = \'import time; open("up", "w"); time.sleep(60)\'\n'
        "Household([Member('test', [sys.executable, '-c', code])]).run(0.01)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE)
    while not (tmp_path / "up").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal.SIGTERM)
    parent.communicate(timeout=10)
    assert parent.returncode == 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
