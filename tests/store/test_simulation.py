"""A trace replayed by the real policy: nothing starts early, no device is given twice, and the numbers add up."""

import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.policy import HOUR
from store.simulation import jain, replay, report
from store.states import Priority
from store.traces import Ask, BadTrace, Machine, read_cluster, read_trace


def ask(submitted_s: float, gpus: int, runtime_s: float, user: str = "ana", **more: float) -> Ask:
    return Ask(submitted_s, user, gpus, runtime_s, "p", Priority.normal, more.get("expected_s", runtime_s))


ASKS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 5), st.integers(1, 300), st.sampled_from("ab")),
    min_size=1,
    max_size=20,
).map(lambda drawn: sorted(ask(float(t), gpus, float(s), user) for t, gpus, s, user in drawn))


@given(ASKS, st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_nothing_starts_early_or_where_there_is_no_room(asks: list[Ask], sizes: list[int]) -> None:
    machines = [Machine(f"n{i}", size) for i, size in enumerate(sizes)]
    runs = replay(asks, machines, pass_s=1.0).runs
    assert sorted(run.ask for run in runs) == asks
    assert all((run.start_s is None) == (run.ask.gpus > max(sizes)) for run in runs)
    assert all(run.wait_s >= 0 for run in runs)
    for machine in machines:
        here = [run for run in runs if run.node == machine.name]
        for moment in [run.start_s or 0.0 for run in here]:
            going = [run for run in here if (run.start_s or 0.0) <= moment < (run.start_s or 0.0) + run.ask.runtime_s]
            assert sum(run.ask.gpus for run in going) <= machine.gpus


def test_a_short_job_fills_in_and_the_wide_one_is_not_delayed() -> None:
    asks = [ask(0, 3, 100), ask(1, 4, 100), ask(2, 1, 90), ask(3, 1, 200)]
    found = {(run.ask.gpus, run.ask.runtime_s): run.start_s for run in replay(asks, [Machine("n", 4)], 1.0).runs}
    assert found == {(3, 100): 0, (4, 100): 100, (1, 90): 2, (1, 200): 200}


def test_who_comes_late_with_little_use_goes_before_a_backlog() -> None:
    backlog = [ask(0, 1, HOUR, "ana") for _ in range(10)]
    runs = replay([*backlog, ask(600, 1, HOUR, "eva")], [Machine("n", 1)], 1.0).runs
    (eva,) = [run for run in runs if run.ask.user == "eva"]
    assert eva.start_s == HOUR  # the second to run


def test_a_preempted_job_is_counted_and_does_again_what_was_not_saved() -> None:
    low = ask(0, 2, 2 * HOUR, "ana")._replace(priority=Priority.low)
    high = ask(HOUR, 2, HOUR, "eva")._replace(priority=Priority.high)
    machines = [Machine("n", 2)]

    def told(first: Ask, **how: bool) -> tuple[int, int, float, float, float]:
        found = report(replay([first, high], machines, 60.0, **how), machines)
        low_tier = found["by_priority"][str(first.priority)]
        return (
            found["preemptions"], low_tier["preempted"], low_tier["redone_gpu_hours"], low_tier["wait_max_h"],
            found["span_h"],
        )  # fmt: skip

    # It leaves a minute after the other came, whose hour it waits for, and a pass.
    assert told(low) == (1, 1, 0.0, pytest.approx(1.017, abs=0.002), pytest.approx(3.02, abs=0.01))
    half = told(low._replace(redo_s=HOUR / 2))
    assert half == (1, 1, 1.0, pytest.approx(1.017, abs=0.002), pytest.approx(3.52, abs=0.01))
    everything = told(low._replace(redo_s=99 * HOUR))  # at most what it had done
    assert everything[2] == pytest.approx(2 * 61 / 60, abs=0.01)
    assert told(low, preemption=False) == (0, 0, 0.0, 0.0, 3.0)
    normal = low._replace(priority=Priority.normal)
    assert (told(normal)[0], told(normal._replace(preemptible=True))[0]) == (0, 1)


def test_the_report_adds_up() -> None:
    asks = [ask(0, 2, 2 * HOUR, "ana"), ask(0, 2, HOUR, "eva"), ask(0, 9, HOUR, "eva")]
    machines = [Machine("n", 2)]
    told = report(replay(asks, machines, 1.0), machines)
    assert (told["jobs"], told["never"], told["gpus"], told["span_h"], told["utilization"]) == (3, 1, 2, 3.0, 1.0)
    assert told["wait"]["wait_max_h"] in (1.0, 2.0)  # equal users: either may go first
    assert {row["user"]: row["gpu_hours"] for row in told["by_user"]} == {"ana": 4.0, "eva": 2.0}
    slow = sorted(row["slowdown"] for row in told["by_user"])
    assert slow in ([1.0, 3.0], [1.0, 1.5])
    assert told["fairness"] == pytest.approx(jain(slow), abs=1e-3)
    assert jain([1, 1, 1]) == 1
    assert jain([1, 0, 0, 0]) == 0.25


def test_two_hundred_gpus_for_a_month_are_used_and_shared() -> None:
    """Offered more than there is, for a while: who uses little waits less than who uses much."""
    rng = random.Random(0)
    machines = read_cluster("25x8")
    asks, now = [], 0.0
    while now < 30 * 24 * HOUR:
        now += rng.expovariate(1 / 4500)
        user = "heavy" if rng.random() < 0.7 else f"u{rng.randrange(10)}"
        asks.append(ask(now, rng.choice([1, 2, 4, 8]), rng.uniform(50, 150) * HOUR, user))
    told = report(replay(asks, machines, 600.0), machines)
    assert told["never"] == 0
    assert told["utilization"] > 0.8
    typical = {row["user"]: row["wait_median_h"] for row in told["by_user"]}
    assert statistics.median(wait for user, wait in typical.items() if user != "heavy") < typical["heavy"] / 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("user,gpus,runtime_s\n", "column submitted is missing"),
        ("submitted,user,gpus,runtime_s\n", "no submissions below the header"),
        ("submitted,user,gpus,runtime_s\nnoon,ana,1,5\n", "line 2: submitted 'noon' is neither"),
        ("submitted,user,gpus,runtime_s\n0,ana,1,5\n0,ana,1.5,5\n", "line 3: gpus '1.5' is no whole number"),
        ("submitted,user,gpus,runtime_s\n0,ana,1,nan\n", "line 2: runtime_s 'nan' is no number"),
        ("submitted,user,gpus,runtime_s,priority\n0,ana,1,5,top\n", "line 2: priority 'top' is none of urgent"),
        ("submitted,user,gpus,runtime_s,preemptible\n0,ana,1,5,maybe\n", "preemptible 'maybe' is neither yes nor no"),
        ("submitted,user,gpus,runtime_s,redo_s\n0,ana,1,5,-1\n", "line 2: redo_s '-1' is no number of 0 or more"),
    ],
)
def test_a_bad_trace_is_named_by_line_and_column(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(BadTrace, match=r"trace\.csv") as caught:
        read_trace(file)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "8", "0x8", "4x", "4x8,", "ax8"])
def test_a_bad_cluster_is_refused(text: str) -> None:
    with pytest.raises(BadTrace, match="MACHINESxGPUS"):
        read_cluster(text)


@pytest.mark.system
def test_times_may_be_written_as_times_and_the_command_prints_json(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(
        "submitted,user,gpus,runtime_s,priority,project\n2026-11-26T12:00:00+00:00,ana,1,60,high,p\n"
        "2026-11-26T11:00:00+00:00,eva,2,60,,\n"
    )
    assert [one.user for one in read_trace(file)] == ["eva", "ana"]
    command = [sys.executable, "-m", "store.simulate", str(file), "--nodes", "1x2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["jobs"] == 2
    assert json.loads(done.stdout)["preemption"] is True
    calm = subprocess.run([*command, "--no-preemption"], capture_output=True, text=True, check=True)
    assert json.loads(calm.stdout)["preemption"] is False
    wrong = subprocess.run([*command[:-1], "two"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "4x8,2x4" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)
