"""Tables as they fill, and jobs side by side."""

import json
import re
import uuid
from html import unescape
from typing import Any

import pytest

from store.ends import Reason
from store.keys import Role
from tests.api.test_experiments import TABLE_1, measure, submit
from tests.api.ui.conftest import Browser
from tests.api.ui.test_queue import section


def test_a_table_fills_and_each_cell_leads_to_its_jobs(lab: Any, browse: Browser) -> None:
    made = submit(lab, name="grid <1>")
    path, http = f"/ui/experiments/{made['id']}", browse()
    assert "grid &lt;1&gt;" in http.get("/ui/experiments").text
    assert "pending" in section(http.get(path).text, "table-grid")
    one, other = (member["id"] for member in made["members"])
    measure(lab, one, 57.9)
    lease = lab.start(other)
    lab.finish(lease, Reason.diverged, detail="the loss is <nan>")
    text = http.get(path).text
    table = text[text.index('id="table-grid"') :]
    assert "57.9" in section(text, "table-grid")
    assert 'title="diverged: the loss is &lt;nan&gt;"' in table
    assert f'href="/ui/jobs/{one}"' in table
    assert f'href="/ui/compare?job={one}&amp;job={other}"' in table
    # A grid's values are numbers, so they are an axis too.
    figures = [json.loads(unescape(found)) for found in re.findall(r"data-live hidden>(\{.*?\})</div>", text)]
    assert [figure["panels"][0]["ours"] for figure in figures] == [[[1, 57.9, 0]]]


def test_the_papers_table_stands_with_the_papers_numbers(lab: Any, browse: Browser) -> None:
    body = TABLE_1 | {"name": "table one"}
    made = lab.http.post("/jobs", json=body).json()
    text = browse().get(f"/ui/experiments/{made['id']}").text
    papers = {
        str(n)
        for t in lab.http.get(f"/results/{made['id']}").json()["tables"]
        for r in t["rows"]
        for n in r["paper"].values()
    }
    assert papers
    assert all(f'<td class="number">{float(number):.4g}</td>' in text for number in papers)
    lab.http.post(f"/experiments/{made['id']}/cancel")


@pytest.mark.parametrize(("role", "verbs"), [(Role.viewer, []), (Role.submitter, []), (Role.operator, ["cancel"])])
def test_an_experiments_buttons_are_for_its_owner_and_operators(
    lab: Any, browse: Browser, role: Role, verbs: list[str]
) -> None:
    made = submit(lab)
    text = browse(role).get(f"/ui/experiments/{made['id']}").text
    assert re.findall(r'data-verb="(\w+)"', text) == verbs
    lab.http.post(f"/experiments/{made['id']}/cancel")
    text = browse(role).get(f"/ui/experiments/{made['id']}").text
    assert re.findall(r'data-verb="(\w+)"', text) == (["retry"] if verbs else [])


def test_jobs_side_by_side_show_settings_that_differ_and_their_results(lab: Any, browse: Browser) -> None:
    jobs = [lab.submit(name=f"with {clips}", n_clips=clips) for clips in (2, 5)]
    lab.succeed(lab.start(jobs[0]))
    answer = browse().get("/ui/compare", params={"job": [*jobs, jobs[0]]})  # one that is named twice stands once
    said = " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())
    assert "Field with 2 retrieval succeeded with 5 retrieval queued n_clips 2 5 Results" in said  # and nothing else
    assert re.search(r"r@1 split 1, pool gap 57.9 % –", said)
    lab.http.post(f"/jobs/{jobs[1]}/cancel")


def test_what_is_foreign_unknown_or_too_much_is_not_compared(lab: Any, browse: Browser, project: str) -> None:
    job = lab.submit()
    assert browse(Role.admin, project=project).get("/ui/compare", params={"job": job}).status_code == 404
    made = submit(lab)
    assert browse(Role.admin, project=project).get(f"/ui/experiments/{made['id']}").status_code == 404
    http = browse()
    assert http.get("/ui/compare").status_code == 400
    many = http.get("/ui/compare", params={"job": [str(uuid.uuid4()) for _ in range(21)]})
    assert (many.status_code, "20 at most" in many.text) == (400, True)
    lab.http.post(f"/jobs/{job}/cancel")
    lab.http.post(f"/experiments/{made['id']}/cancel")
