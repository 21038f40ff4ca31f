"""A form for each kind, which starts empty, from a job, or from a checkpoint."""

import json
import re
from html import unescape
from typing import Any

import pytest

from cmac_core.specs import JOB_SPEC
from store.keys import Role
from tests.api.ui.conftest import Browser


def form(text: str) -> Any:
    return json.loads(unescape(re.findall(r'data-form="([^"]+)"', text)[0]))


@pytest.mark.parametrize(
    "kind", ["pack", "import", "pretrain", "retrieval", "probe", "attention", "finetune", "experiment"]
)
def test_every_kind_has_a_form_of_its_own_schema(browse: Browser, kind: str) -> None:
    made = form(browse().get("/ui/submit", params={"kind": kind}).text)
    assert made["schema"]["properties"]["kind"]["const"] == kind
    assert made["start"] == {"kind": kind}


def test_a_clone_starts_with_what_gives_the_same_spec(lab: Any, browse: Browser) -> None:
    job = lab.submit(name="the first", n_clips=4)
    made = form(browse().get("/ui/submit", params={"clone": job}).text)
    assert made["start"]["n_clips"] == 4
    assert JOB_SPEC.validate_python(made["start"]).model_dump(mode="json") == lab.row(job).spec
    lab.http.post(f"/jobs/{job}/cancel")


def test_a_foreign_job_is_not_cloned_and_an_unknown_kind_is_told(lab: Any, browse: Browser, project: str) -> None:
    job = lab.submit()
    assert browse(Role.admin, project=project).get("/ui/submit", params={"clone": job}).status_code == 404
    answer = browse().get("/ui/submit", params={"kind": "nonsense"})
    assert (answer.status_code, "pretrain" in answer.text) == (400, True)
    lab.http.post(f"/jobs/{job}/cancel")


def test_only_who_may_submit_gets_the_button(browse: Browser) -> None:
    assert 'id="send"' not in browse(Role.viewer).get("/ui/submit").text
    text = browse(Role.submitter).get("/ui/submit").text
    assert 'id="send"' in text
    assert '<option value="moving@1">' in text
