"""The study of choices: each is a spec that trains, and its lines become a table that can go on."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.choices import BASE, CHOICES, COLUMNS, EVALUATIONS, Setting, append, table, written
from cmac_core.specs import JOB_SPEC, Pretrain
from cmac_core.specs.presets import merged

SETTING = Setting("middle", 8, 1)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_is_a_pretraining_that_differs_from_the_base(choice: str) -> None:
    spec, base = (
        JOB_SPEC.validate_python({"kind": "pretrain", "dataset": "x", **merged(BASE, change)})
        for change in (CHOICES[choice], {})
    )
    assert isinstance(spec, Pretrain)
    assert (spec == base) == (choice == "mutual")


def test_a_column_names_a_job_that_is_run() -> None:
    assert {column[1] for column in COLUMNS} == set(EVALUATIONS)


def line(seed: int, **values: float) -> dict[str, Any]:
    spent = {"train_s": 7 + seed, "all_s": 19, "device": "CPU"}
    return {"choice": "mutual", "seed": seed, "setting": SETTING._asdict(), **spent, "values": values}


def test_the_table_has_means_spreads_and_distances_from_the_nearest_control() -> None:
    names = {"attention/video/pointing_s": 60.0, "attention/video/pointing_motion": 20.0}
    other = {"attention/video/pointing_s": 80.0, "attention/video/pointing_s_other_sound": 30.0}
    text = table([line(0, **names), line(1, **other)], SETTING)
    (row,) = [row for row in text.splitlines() if row.startswith("| mutual")]
    cells = dict(zip(text.splitlines()[2].split(" | "), row.split(" | "), strict=True))
    assert cells["points video s"] == "70.0 ± 14.1 (+40.0)"
    assert (cells["video R@1"], cells["runs"]) == ("–", "2")
    assert row.endswith(" | 8 CPU |")


def test_lines_of_another_setting_and_half_written_ones_do_not_count(tmp_path: Path) -> None:
    lines = tmp_path / "choices.jsonl"
    assert written(lines, SETTING) == []
    append(lines, line(0))
    append(lines, line(1) | {"setting": SETTING._replace(clips=9)._asdict()})
    with lines.open("a") as file:
        file.write(json.dumps(line(2))[:-1])  # ends like a line, almost
    append(lines, line(3))
    assert written(lines, SETTING) == [line(0), line(3)]
