"""One way in, and one place where errors become a reason. In-process: no torch is loaded for what goes wrong early."""

import errno
import faulthandler
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmac_core.__main__ import main
from cmac_core.events import Ended, read
from cmac_core.training.ending import ended_by
from cmac_core.training.errors import DataError, DiskFull, Diverged, UserError
from cmac_core.training.signals import ASK


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """`main` takes the process's signals; give them back."""
    before = {number: signal.getsignal(number) for number in ASK}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    faulthandler.unregister(signal.SIGUSR2)


def run(folder: Path, spec: Any, inputs: Any = None) -> Ended:
    (folder / "spec.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    if inputs is not None:
        (folder / "inputs.json").write_text(inputs if isinstance(inputs, str) else json.dumps(inputs))
    assert main([str(folder / "spec.json"), "--run-dir", str(folder / "run")]) == 1
    last = read(folder / "run")[0][-1]
    assert isinstance(last, Ended)
    assert last.outcome == "failed"
    return last


def test_a_wrong_field_is_named_with_a_guess(tmp_path: Path) -> None:
    ended = run(tmp_path, {"kind": "pretrain", "dataset": "x", "optim": {"bach": 3}})
    assert ended.reason == "bad_spec"
    assert "/optim/bach: no such field (did you mean batch?)" in ended.detail


def test_a_spec_that_is_no_json_or_not_there_is_bad(tmp_path: Path) -> None:
    assert run(tmp_path, "{").reason == "bad_spec"
    assert main([str(tmp_path / "none.json"), "--run-dir", str(tmp_path / "run")]) == 1
    assert "cannot read the spec" in read(tmp_path / "run")[0][-1].model_dump_json()


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        ({"kind": "pretrain", "dataset": "x"}, "dataset"),
        ({"kind": "pack", "dataset": "x", "source": {"path": "."}}, "source and output"),
        ({"kind": "pack", "dataset": "x", "source": {"generate": "sounding-objects"}}, "output"),
        ({"kind": "probe", "dataset": "x", "modality": "audio", "checkpoint": {"random_init": True}}, "dataset"),
    ],
)
def test_missing_inputs_are_named_with_an_example(tmp_path: Path, spec: Any, keys: str) -> None:
    ended = run(tmp_path, spec)
    assert ended.detail.endswith(f"should name {keys}")
    assert "inputs.json" in ended.hint
    assert all(key in ended.hint for key in keys.split(" and "))


def test_inputs_are_checked(tmp_path: Path) -> None:
    spec = {"kind": "pretrain", "dataset": "x"}
    assert "does not name dataset" in run(tmp_path, spec, {}).detail
    assert "Field required" in run(tmp_path, spec, {"dataset": {"sha256": "0"}}).detail
    assert "nowhere does not exist" in run(tmp_path, spec, {"dataset": {"path": "nowhere"}}).detail
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.jsonl").write_text("")
    wrong = run(tmp_path, spec, {"dataset": {"path": "set", "sha256": "0" * 64}})
    assert "has sha256 e3b0c44298fc1c14…, expected 0000000000000000…" in wrong.detail


def test_a_rank_tells_its_pid_after_its_handlers_are_set(tmp_path: Path) -> None:
    run(tmp_path, "{")
    assert int((tmp_path / "run" / "rank-0.pid").read_text()) > 0
    assert signal.getsignal(signal.SIGUSR1) not in (signal.SIG_DFL, None)


def test_a_run_dir_that_cannot_be_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "spec.json"), "--run-dir", str(tmp_path / "file" / "run")]) == 1
    assert "--run-dir" in capfd.readouterr().err


def test_nothing_of_torch_is_loaded_before_a_job_needs_it(tmp_path: Path) -> None:
    code = "import sys; from cmac_core import __main__; assert not {'torch', 'av'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("x"), "user_error"),
        (DataError("x"), "data_error"),
        (Diverged("x"), "diverged"),
        (DiskFull("x"), "disk_full"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.ENOENT, "No such file"), "user_error"),
        (OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
        (RuntimeError("[/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 300000ms for recv"), "hung"),
        (RuntimeError("[/gloo/transport/tcp/pair.cc] Connection closed by peer [127.0.0.1]:1"), None),
        (ValueError("where: no clip"), "user_error"),
        (ZeroDivisionError("division by zero"), "user_error"),
        (TimeoutError("the file system timed out"), "user_error"),
    ],
)
def test_errors_have_reasons(error: Exception, reason: str | None) -> None:
    assert ended_by(error).reason == reason
