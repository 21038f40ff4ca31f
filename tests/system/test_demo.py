"""The public path from end to end, through the command that people use."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from client.processes import marked
from tests.system.conftest import Service

pytestmark = pytest.mark.system


def cmac(*arguments: str, seconds: float = 240, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; it must end with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "client", *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def rows(*arguments: str) -> Any:
    return json.loads(cmac(*arguments, "--json").stdout)


def test_the_demonstration_ends_with_a_table_and_pictures(service: Service, tmp_path: Path) -> None:
    done = cmac("demo", "--clips", "64", "--out", str(tmp_path), seconds=800)
    for name in ("retrieval", "audio probe", "video probe", "attention"):
        assert name in done.stdout
        assert f"{name}: succeeded" in done.stderr
    assert service.url in done.stdout
    pictures, films = list(tmp_path.glob("*.png")), list(tmp_path.glob("*.mp4"))
    assert pictures
    assert films
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in pictures)
    assert all(file.read_bytes()[4:8] == b"ftyp" for file in films)
    retrieval = next(row for row in rows("jobs", "--kind", "retrieval"))
    values = {value["name"]: value for value in rows("results", retrieval["id"])["values"]}
    assert values["r@1"]["n"] > 0
    assert None not in (values["r@1"]["random_init"], values["r@1"]["chance"], values["r@1"]["ci_low"])
    assert rows("dataset", "show", "demo")["clips"] == 64


def test_starting_what_runs_changes_nothing(service: Service) -> None:
    before = rows("status")
    assert cmac("up", "--quiet").stdout.strip() == service.url
    after = rows("status")
    assert (after["api"], after["worker"]) == (before["api"], before["worker"])
    assert all(after["embedded"].values())


def test_stopping_with_jobs_saves_them_and_the_next_start_goes_on(service: Service, tiny: str) -> None:
    spec = {
        "kind": "pretrain", "dataset": tiny, "scale": "small", "where": {},
        "data": {"crop": 48, "short_side": [48, 48], "frames": 4, "fps": 4}, "model": {"width": 4, "bn_group": 4},
        "moco": {"K": 16}, "optim": {"batch": 8, "epochs": 5000}, "resources": {"cpu_slots": 1},
    }  # fmt: skip
    job = service.submit(spec)
    service.until(lambda: (service.job(job).progress or {}).get("step", 0) > 2, 120)
    said = cmac("down", "--jobs")
    assert "Waiting for running jobs to save" in said.stderr
    assert marked(service.home) == []
    assert cmac("jobs", code=4).returncode == 4
    began = time.monotonic()
    service.up()
    service.until(lambda: (a := service.attempt(job)) is not None and a.epoch == 2 and (a.resume_step or 0) > 2, 120)
    assert time.monotonic() - began < 120
    assert rows("cancel", str(job), "--force")[0]["id"] == str(job)
    service.finished(job)
