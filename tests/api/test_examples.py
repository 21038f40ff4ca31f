"""What the document shows as a body is one that is taken."""

import json
import os
import re
import subprocess
import uuid
from html import unescape
from typing import Any

import pytest

from api import examples
from api.app import make_app
from api.bodies import parse_body, parse_spec
from api.settings import ApiSettings
from cmac_core.specs import KINDS


def test_every_operation_that_takes_a_body_shows_one() -> None:
    document = make_app(ApiSettings()).openapi()
    shown = {
        f"{method} {path}": operation["requestBody"]["content"]["application/json"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert len(shown) > 12
    assert [name for name, content in shown.items() if not {"example", "examples"} & content.keys()] == []


@pytest.mark.parametrize("kind", examples.BODIES, ids=lambda kind: kind.__name__)
def test_every_example_of_a_body_is_taken(kind: Any) -> None:
    parse_body(kind, examples.BODIES[kind])


def test_there_is_a_spec_of_every_kind() -> None:
    assert {spec["kind"] for spec in examples.SPECS.values()} == {*KINDS, "experiment"}


@pytest.mark.parametrize("title", examples.SPECS)
def test_every_example_of_a_spec_is_well_formed_and_lacks_at_most_what_it_names(lab: Any, title: str) -> None:
    parse_spec(examples.SPECS[title])
    answer = lab.http.post("/jobs", params={"dry_run": True}, json=examples.SPECS[title])
    # This lab has no such dataset, root, checkpoint or GPU: only that may be wrong with it.
    wrong = {error["pointer"] for error in answer.json().get("errors", [])}
    allowed = {
        "/dataset",
        "/source/root",
        "/source",
        "/checkpoint",
        "/checkpoint/job",
        "/resources/gpus",
        "/base/dataset",
    }
    assert answer.status_code == 200 or wrong <= allowed | {"/then/0/spec/dataset"}, answer.text


def test_an_example_runs_as_it_is_where_its_dataset_is_there(lab: Any) -> None:
    lab.dataset("holidays", project="default")
    answer = lab.http.post("/jobs", json=examples.SPECS["Pretrain, small"] | {"name": f"x {uuid.uuid4().hex[:6]}"})
    assert answer.status_code == 202, answer.text
    lab.http.post(f"/jobs/{answer.json()['id']}/cancel")


def test_the_page_of_the_api_shows_each_example_as_a_line_for_a_shell(lab: Any) -> None:
    text = unescape(lab.http.get("/docs").text)
    lines = re.findall(r"<pre>(curl .*?)</pre>", text, re.DOTALL)
    assert len(lines) >= len(examples.SPECS) + len(examples.BODIES)
    line = next(line for line in lines if '"name": "ana"' in line)
    secret = lab.http.headers["authorization"].removeprefix("Bearer ")
    environment = {"URL": lab.url, "KEY": secret, "PATH": os.environ["PATH"]}
    name = f"ana-{uuid.uuid4().hex[:6]}"
    done = subprocess.run(
        ["bash", "-c", line.replace('"ana"', f'"{name}"')], env=environment, capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout)["name"] == name
