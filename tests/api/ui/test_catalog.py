"""Checkpoints and datasets as one chooses them."""

import re
import uuid
from typing import Any

from store.keys import Role
from tests.api.test_authorization import things
from tests.api.ui.conftest import Browser
from tests.api.ui.test_submit import form


def test_a_checkpoint_tells_its_lineage_and_leads_to_an_evaluation(lab: Any, browse: Browser) -> None:
    user, project = f"u-{uuid.uuid4().hex[:8]}", f"p-{uuid.uuid4().hex[:8]}"
    lab.key(Role.viewer, project)
    there = things(lab, user, project)
    http, path = browse(), f"/ui/checkpoints/{there['checkpoint_id']}"
    listed = http.get("/ui/checkpoints", params={"job": there["job_id"]}).text
    assert listed.count(f'href="{path}"') == 1
    text = http.get(path).text
    assert there["reference"] in text
    assert f'href="/ui/jobs/{there["job_id"]}"' in text
    assert f'href="/checkpoints/{there["checkpoint_id"]}/file"' in text
    made = form(http.get("/ui/submit", params={"kind": "probe", "checkpoint": there["checkpoint_id"]}).text)
    assert made["start"] == {"kind": "probe", "checkpoint": {"id": there["checkpoint_id"]}}
    foreign = browse(Role.admin, project=f"p-{uuid.uuid4().hex[:8]}")
    assert foreign.get(path).status_code == 404
    assert path not in foreign.get("/ui/checkpoints").text
    assert there["reference"] not in foreign.get("/ui/datasets").text


def test_what_was_found_with_a_checkpoint_stands_with_it_however_it_was_named(lab: Any, browse: Browser) -> None:
    user, project = f"u-{uuid.uuid4().hex[:8]}", f"p-{uuid.uuid4().hex[:8]}"
    lab.key(Role.viewer, project)
    there = things(lab, user, project)
    for name, checkpoint in (("by id", {"id": there["checkpoint_id"]}), ("by job", {"job": there["job_id"]})):
        job = lab.submit(name=name, checkpoint=checkpoint)
        lab.succeed(lab.start(job))
    lab.succeed(lab.start(lab.submit(name="of none")))
    text = browse().get(f"/ui/checkpoints/{there['checkpoint_id']}").text
    found = text.split("What was found with it")[1].split("Lineage")[0]
    assert re.findall(r">(by \w+|of none)</a>", found) == ["by job", "by id"]
    assert found.count("r@1 57.9 %") == 2


def test_datasets_tell_what_is_in_them(lab: Any, browse: Browser) -> None:
    name = f"d-{uuid.uuid4().hex[:8]}"
    lab.dataset(name, clips=12_345, quarantined=6, hours=20.5, bytes=3_210_000_000)
    text = " ".join(browse().get("/ui/datasets", params={"limit": 200}).text.split())
    row = text[text.index(name) :].split("</tr>")[0]
    for told in ("12,345", "20.5", "3.21 GB", "test 20, train 80", "class (8)"):
        assert told in row
