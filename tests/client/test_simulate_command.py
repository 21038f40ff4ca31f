"""`cmac simulate`: the queue replayed."""

import json
from pathlib import Path

import pytest

from client.commands.simulation import write_history
from tests.client.conftest import Cmac


@pytest.mark.system
def test_a_trace_is_replayed_and_a_bad_one_named(cmac: Cmac, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("submitted,user,gpus,runtime_s\n0,ana,8,3600\n60,eva,2,3600\n")
    shown = cmac("simulate", str(trace), "--nodes", "1x8")
    assert shown.code == 0
    assert "2 jobs on 8 GPUs" in shown.out
    assert json.loads(cmac("simulate", str(trace), "--json").out)["wait"]["wait_max_h"] == pytest.approx(59 / 60, 0.01)
    trace.write_text("submitted,user,gpus\n0,ana,8\n")
    wrong = cmac("simulate", str(trace))
    assert (wrong.code, "column runtime_s is missing" in wrong.err) == (2, True)


def test_a_replay_tells_who_had_to_leave_and_what_was_done_twice(cmac: Cmac, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("submitted,user,gpus,runtime_s,priority,redo_s\n0,ana,2,7200,low,1800\n3600,eva,2,3600,high,\n")
    shown = cmac("simulate", str(trace), "--nodes", "1x2")
    assert shown.code == 0
    assert "1 jobs had to leave for others, 1 times in all" in shown.out
    assert ("preempted" in shown.out, "redone" in shown.out, "1.00" in shown.out) == (True, True, True)
    calm = cmac("simulate", str(trace), "--nodes", "1x2", "--no-preemption")
    assert (calm.code, "preempted" in calm.out, "leave" in calm.out) == (0, False, False)


def test_without_a_trace_it_is_the_history_and_an_empty_one_is_said(cmac: Cmac, tmp_path: Path) -> None:
    none = cmac("simulate", "--nodes", "1x8")
    assert (none.code, "no job of this lab has ended on a GPU" in none.err) == (2, True)
    row = {
        "gpus": 2,
        "nodes": 1,
        "owner": "ana",
        "project": "p",
        "priority": "high",
        "submitted_at": "2026-11-26T12:00:00.000Z",
    }
    times = {"started_at": "2026-11-26T12:01:00.000Z", "ended_at": "2026-11-26T12:03:00.000Z"}
    file = tmp_path / "history.csv"
    assert write_history(file, [row | times, row | times | {"gpus": 0}, row | {"started_at": None}]) == 1
    assert "ana,p,2,1,120.0,high" in file.read_text()
    assert cmac("simulate", str(file)).code == 0
