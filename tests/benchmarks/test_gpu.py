"""The GPU benchmark: it runs without one, and its variants are the same network."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.step import SMOKE, Bench
from benchmarks.gpu.variants import padded
from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.r2plus1d import R2Plus1D18


@pytest.mark.system
def test_everything_runs_once_on_tiny_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu", "--smoke", "--out", str(tmp_path)])
    assert gpu.main() == 0
    rows = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert {row["section"] for row in rows} >= {"machine", "agreement", "step", "views", "features", "resume", "nccl"}
    assert not [row for row in rows if "failed" in row]
    assert all(row["clips_per_s"] > 0 for row in rows if row["section"] == "step")
    assert (tmp_path / "gpu.md").read_text().count("| ours |") == 2


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


def test_padded_middle_channels_are_multiples_of_eight() -> None:
    network = padded(R2Plus1D18(64, 2))
    middles = [part.weight.shape[0] for part in network.modules() if isinstance(part, GroupedBatchNorm)]
    assert len(middles) == 37
    assert not [channels for channels in middles if channels % 8]
