"""Specs and results side by side, with the exit codes of diff."""

import json
from pathlib import Path

from tests.api.conftest import RETRIEVAL, Lab
from tests.client.conftest import Cmac


def test_only_what_differs_is_shown_and_the_exit_code_says_so(cmac: Cmac, lab: Lab) -> None:
    first, second = lab.submit(name="a"), lab.submit(name="b", seed=7, k=[1, 5])
    said = cmac("diff", first[:8], second)
    assert said.code == 1
    assert "seed" in said.out
    assert "geometry.frames" not in said.out
    assert "name" not in said.out.replace("names", "")  # what it is called is no setting
    whole = json.loads(cmac("diff", first, second, "--all", "--json").out)
    assert {"field": "geometry.frames", "values": [8, 8]} in whole["fields"]
    found = json.loads(cmac("diff", first, second, "--json").out)
    assert (found["equal"], {row["field"] for row in found["fields"]}) == (False, {"seed", "k"})


def test_equal_jobs_exit_with_0_and_their_results_stand_side_by_side(cmac: Cmac, lab: Lab) -> None:
    first, second = lab.submit(name="a"), lab.submit(name="b")
    lab.succeed(lab.start(first))
    said = cmac("diff", first, second)
    assert said.code == 0
    assert "the specs are equal" in said.out
    assert "57.9%" in said.out
    lab.succeed(lab.start(second))
    (row,) = json.loads(cmac("diff", first, second, "--json").out)["results"]
    assert (row["name"], [value["value"] for value in row["values"]]) == ("r@1", [57.9, 57.9])


def test_a_file_is_compared_as_it_would_be_stored(cmac: Cmac, lab: Lab, tmp_path: Path) -> None:
    job, file = lab.submit(), tmp_path / "spec.json"
    file.write_text(json.dumps(RETRIEVAL))
    assert cmac("diff", job, str(file)).code == 0
    file.write_text(json.dumps(RETRIEVAL | {"seed": 3}))
    said = cmac("diff", job, str(file), "--json")
    assert (said.code, json.loads(said.out)["fields"]) == (1, [{"field": "seed", "values": [0, 3]}])
    file.write_text(json.dumps(RETRIEVAL | {"sead": 3}))
    wrong = cmac("diff", job, str(file))
    assert (wrong.code, "/sead" in wrong.err) == (2, True)
    assert cmac("diff", job, str(tmp_path / "nowhere.json")).code == 2
