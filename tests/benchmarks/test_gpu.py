"""The GPU benchmark: it runs without one, and its variants are the same network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.step import SMOKE, Bench, Case, Step


@pytest.mark.system
def test_everything_runs_once_on_tiny_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu", "--smoke", "--out", str(tmp_path)])
    assert gpu.main() == 0
    rows = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert {row["section"] for row in rows} >= {"machine", "agreement", "step", "views", "features", "resume", "nccl"}
    assert not [row for row in rows if "failed" in row]
    assert all(row["clips_per_s"] > 0 for row in rows if row["section"] == "step")
    assert (tmp_path / "gpu.md").read_text().count("| ours") == 3


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SMOKE, 60)
    with bench.part("step", variant="x"):
        raise RuntimeError("out of memory")
    with bench.part("views") as go:
        assert go
    assert bench.failed == 1
    assert bench.rows[0]["failed"] == "RuntimeError: out of memory"


def test_nothing_is_begun_when_time_is_up(tmp_path: Path) -> None:
    with Bench(tmp_path, SMOKE, -1).part("views") as go:
        assert not go


def test_torchvisions_network_and_pyav_may_be_missing() -> None:
    """Where a GPU is lent, what this project installs may not be there."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(('av', 'torchvision', 'torchaudio')); import benchmarks.gpu.__main__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_variant_is_the_same_method(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SMOKE, 60)
    losses = {}
    for name in ("ours", "ours, stem of 7 x 7", "ours, fused norms alone", "ours, as on a CPU"):
        torch.manual_seed(0)
        losses[name] = float(Step(bench, Case(name, 4, "fp32"))()["total"].detach())
    assert max(losses.values()) - min(losses.values()) < 1e-4 * losses["ours"]
