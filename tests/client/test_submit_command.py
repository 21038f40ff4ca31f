"""`cmac submit`: what it prints, refuses, shows before and waits for."""

import json
from pathlib import Path
from typing import Any

from store.ends import Reason
from tests.api.conftest import RETRIEVAL, Lab
from tests.client.conftest import Cmac


def spec_file(folder: Path, file: str = "spec.json", /, **changes: Any) -> str:
    path = folder / file
    path.write_text(json.dumps(RETRIEVAL | changes))
    return str(path)


def test_submitting_prints_ids_or_tables_or_json(cmac: Cmac, tmp_path: Path) -> None:
    file = spec_file(tmp_path, name="first")
    quiet = cmac("submit", file, "--quiet")
    assert (quiet.code, len(quiet.out.strip()), quiet.err) == (0, 36, "")
    shown = cmac("submit", file, "--set", "name=second")
    assert "second" in shown.out
    assert "Follow: cmac wait" in shown.err
    (row,) = json.loads(cmac("submit", file, "--set", "seed=3", "--json").out)
    assert row["seed"] == 3
    assert "second" in cmac("jobs", "--name", "second").out


def test_a_wrong_spec_exits_2_and_names_fields_and_guesses(cmac: Cmac, tmp_path: Path) -> None:
    said = cmac("submit", spec_file(tmp_path, n_clip=3, label=7))
    assert said.code == 2
    assert "/n_clip: no such field" in said.err
    assert "did you mean n_clips?" in said.err
    assert "/label" in said.err
    assert "Traceback" not in said.err
    as_json = cmac("submit", spec_file(tmp_path, n_clip=3), "--json")
    problem = json.loads(as_json.err)
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_spec", "/n_clip")


def test_files_may_name_each_other(cmac: Cmac, tmp_path: Path) -> None:
    late = spec_file(tmp_path, "late.json", name="probe", checkpoint={"job": "$base"})
    base = tmp_path / "base.json"
    base.write_text(json.dumps({"kind": "pretrain", "name": "base", "dataset": "moving", "preset": "small"}))
    rows = json.loads(cmac("submit", late, str(base), "--json").out)
    assert [row["name"] for row in rows] == ["base", "probe"]
    assert rows[1]["checkpoint_job"] == rows[0]["id"]
    assert rows[1]["state"] == "blocked"
    assert cmac("why", rows[1]["id"][:8]).out.startswith("waits for")


def test_what_was_submitted_before_a_refusal_is_told(cmac: Cmac, tmp_path: Path) -> None:
    good, bad = spec_file(tmp_path, "a.json", name="a"), spec_file(tmp_path, "b.json", name="b", dataset="nowhere")
    said = cmac("submit", good, bad)
    assert said.code == 2
    assert "Submitted before the refused one, and they stay" in said.err


def test_a_dry_run_shows_what_would_happen(cmac: Cmac, tmp_path: Path) -> None:
    said = cmac("submit", spec_file(tmp_path), "--dry-run", "--json")
    assert json.loads(said.out)[0]["spec"]["dataset"].startswith("moving")
    assert cmac("submit", spec_file(tmp_path), "--dry-run").code == 0


def test_wait_prints_the_table_and_its_code_is_the_jobs(cmac: Cmac, lab: Lab) -> None:
    good, bad = lab.submit(name="good"), lab.submit(name="bad")
    lab.succeed(lab.start(good))
    lab.finish(lab.start(bad), Reason.oom, detail="out of memory", hint="halve the batch")
    said = cmac("wait", good)
    assert said.code == 0
    assert "57.9%" in said.out
    both = cmac("wait", good, bad)
    assert both.code == 1
    assert "57.9%" in both.out
    assert "oom: out of memory" in both.err
    assert "halve the batch" in both.err
