"""Experiments over HTTP: one POST, many jobs, one table in every form."""

import csv
import io
import uuid
from typing import Any

import pytest

from cmac_core.events import Ended, Result, Value
from store.ends import Reason
from store.keys import Role
from tests.api.test_submitting import count, refusal

GRID: dict[str, Any] = {
    "kind": "experiment",
    "name": "mine",
    "base": {"kind": "retrieval", "dataset": "moving", "scale": "small", "checkpoint": {"random_init": True},
             "resources": {"cpu_slots": 1}},
    "grid": {"n_clips": [1, 2]},
}  # fmt: skip
TABLE_1 = {"kind": "experiment", "recipe": "table-1", "scale": "small", "dataset": "moving"}


def submit(lab: Any, **changes: Any) -> dict[str, Any]:
    answer = lab.http.post("/jobs", json=GRID | changes)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    found: dict[str, Any] = answer.json()
    return found


def measure(lab: Any, job: str, value: float) -> None:
    lease = lab.start(job)
    found = Value(name="r@1", value=value, n=20, modality="video", pool="gap")
    lab.tell(lease, Result(values=(found,), protocol={}), Ended(outcome="finished"))
    lab.finish(lease)


def test_an_experiment_is_accepted_and_can_be_found_at_once(lab: Any) -> None:
    made = submit(lab)
    assert (made["kind"], made["state"], made["jobs"], made["counts"]) == ("experiment", "queued", 2, {"queued": 2})
    assert [one["cells"] for one in made["members"]] == [["grid/n_clips=1/0"], ["grid/n_clips=2/0"]]
    assert lab.http.get(made["links"]["self"]).json() == made
    listed = lab.http.get("/experiments", params={"limit": 1}).json()
    assert (listed["items"][0]["id"], listed["items"][0]["counts"]) == (made["id"], {"queued": 2})
    jobs = lab.http.get("/jobs", params={"label.experiment": made["id"]}).json()["items"]
    assert {job["id"] for job in jobs} == {one["id"] for one in made["members"]}


def test_the_same_key_gives_the_same_experiment_again(lab: Any) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = lab.http.post("/jobs", json=GRID, headers=key)
    before = count(lab)
    second = lab.http.post("/jobs", json=GRID, headers=key)
    assert (second.json(), second.headers["idempotent-replayed"], count(lab)) == (first.json(), "true", before)


def test_its_result_says_pending_then_has_the_table(lab: Any) -> None:
    made = submit(lab)
    answer = lab.http.get(f"/results/{made['id']}")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "10")
    assert {cell["state"] for row in answer.json()["tables"][0]["rows"] for cell in row["cells"]} == {"pending"}
    tag = answer.headers["etag"]
    assert lab.http.get(f"/results/{made['id']}", headers={"If-None-Match": tag}).status_code == 304
    for member, value in zip(made["members"], (50.0, 60.0), strict=True):
        measure(lab, member["id"], value)
    answer = lab.http.get(f"/results/{made['id']}", headers={"If-None-Match": tag})
    body = answer.json()
    assert (answer.status_code, body["final"], body["state"]) == (200, True, "succeeded")
    assert [row["cells"][0]["mean"] for row in body["tables"][0]["rows"]] == [50.0, 60.0]
    assert lab.http.get(f"/experiments/{made['id']}/table").json() == body


def test_the_table_comes_in_every_form(lab: Any) -> None:
    made = submit(lab)
    for member, value in zip(made["members"], (50.0, 60.0), strict=True):
        measure(lab, member["id"], value)
    path = f"/results/{made['id']}"
    found = lab.http.get(path, headers={"Accept": "text/csv"})
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(found.text)))
    assert [(row["row"], row["mean"], row["n"]) for row in rows] == [
        ("n_clips=1", "50.0", "1"),
        ("n_clips=2", "60.0", "1"),
    ]
    assert "| n_clips=1 | 50.0 |" in lab.http.get(path, params={"format": "markdown"}).text
    latex = lab.http.get(path, params={"format": "latex"})
    assert (latex.headers["content-type"], "n\\_clips=1 & 50.0 \\\\" in latex.text) == (
        "application/x-latex; charset=utf-8", True,
    )  # fmt: skip
    svg = lab.http.get(path, headers={"Accept": "image/svg+xml"})
    assert (svg.headers["content-type"], svg.text[:4], svg.text.count("<circle")) == ("image/svg+xml", "<svg", 3)
    refusal(lab.http.get(path, headers={"Accept": "text/turtle"}), 406, "not_acceptable")
    refusal(lab.http.get(path, params={"format": "pdf"}), 400, "bad_request")


def test_only_what_has_an_axis_is_a_figure_and_a_job_has_no_table(lab: Any) -> None:
    made = submit(lab, grid={"pool": [["gap"], ["max222"]]})
    assert "has no axis" in refusal(lab.http.get(f"/results/{made['id']}?format=svg"), 406, "not_acceptable")["detail"]
    refusal(lab.http.get(f"/results/{lab.submit()}", params={"format": "csv"}), 406, "not_acceptable")


def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_quoted(lab: Any) -> None:
    made = submit(lab, name="x", grid={}, rows=[{"key": "a", "set": {}}])
    job = made["members"][0]["id"]
    lab.finish(lab.start(job), Reason.data_error, detail="=cmd()")
    found = next(csv.DictReader(io.StringIO(lab.http.get(f"/results/{made['id']}?format=csv").text)))
    assert (found["state"], found["note"]) == ("failed", "data_error: =cmd()")


def test_a_dry_run_lists_everything_and_stores_nothing(lab: Any) -> None:
    before = count(lab)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answer = lab.http.post("/jobs", params={"dry_run": True}, json=TABLE_1 | {"seeds": [0, 1, 2]}, headers=key)
    told = answer.json()
    assert answer.status_code == 200
    assert (told["pretrainings"], told["submittable"], told["problems"]) == (12, True, [])
    assert told["job_count"] == len(told["jobs"])
    full = next(job for job in told["jobs"] if job["cell"] == "table-1/full/0")
    assert (full["clips"], full["steps_per_epoch"], full["steps"]) == (80, 5, 80)
    assert full["resources"] == {"gpus": None, "cpu_slots": 1}
    assert told["estimate"]["gpu_hours"]["expected"] > 0
    assert (count(lab), lab.http.get("/experiments?limit=200").text.count(told["spec"]["recipe"])) == (before, 0)


def test_what_failed_is_run_again_in_one_call(lab: Any) -> None:
    made = submit(lab)
    good, bad = (one["id"] for one in made["members"])
    measure(lab, good, 50.0)
    lab.finish(lab.start(bad), Reason.oom, detail="out of memory")
    body = lab.http.get(f"/results/{made['id']}").json()
    assert (body["state"], body["tables"][0]["rows"][1]["cells"][0]["why"]) == ("failed", "oom: out of memory")
    answer = lab.http.post(body["links"]["retry"], json={"rows": ["n_clips=2"]})
    assert (answer.status_code, len(answer.json()["retried"])) == (202, 1)
    assert {one["state"] for one in answer.json()["members"]} == {"succeeded", "queued"}
    assert lab.http.post(body["links"]["retry"]).json()["retried"] == []
    problem = refusal(lab.http.post(body["links"]["retry"], json={"rows": ["c"]}), 400, "bad_request")
    assert problem["allowed"] == ["n_clips=1", "n_clips=2"]
    refusal(lab.http.post(body["links"]["retry"], json={"row": "c"}), 422, "invalid_spec")


def test_cancel_ends_all_of_it(lab: Any) -> None:
    made = submit(lab)
    answer = lab.http.post(made["links"]["cancel"])
    assert (answer.status_code, answer.json()["state"], answer.json()["counts"]) == (202, "cancelled", {"cancelled": 2})
    assert lab.http.post(made["links"]["cancel"]).json() == answer.json()


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"recipe": "table1"}, "/recipe", "did you mean table-1?"),
        ({"recpie": "table-1"}, "/recpie", "did you mean recipe?"),
        ({"seeds": [0, 0]}, "/seeds", "stands twice"),
        ({"seeds": []}, "/seeds", "at least 1"),
        ({"set": {"optim.epohcs": 3}}, "/set/optim.epohcs", "did you mean epochs?"),
        ({"set": {"optim..epochs": 3}}, "/set/optim..epochs", "pattern"),
        ({"datasets": {"ucf": "x"}}, "/datasets/ucf", "did you mean ucf101?"),
        ({"preset": "papr"}, "/preset", "did you mean paper?"),
        ({"scale": "tiny"}, "/scale", "'paper' or 'small'"),
        ({"rows": [{"kee": 1}]}, "/rows/0/kee", "did you mean key?"),
    ],
)
def test_what_is_wrong_with_an_experiment_is_named_with_a_guess(
    lab: Any, changes: dict[str, Any], pointer: str, words: str
) -> None:
    before = count(lab)
    problem = refusal(lab.http.post("/jobs", json=TABLE_1 | changes), 422, "invalid_spec")
    errors = {error["pointer"]: f"{error['message']} {error.get('hint', '')}" for error in problem["errors"]}
    assert words in errors[pointer]
    assert count(lab) == before


def test_an_experiment_of_another_project_is_not_there_at_all(lab: Any, project: str) -> None:
    made = submit(lab)
    here = made["links"]["self"]
    with lab.client(lab.key(Role.operator, project)) as http:
        for path in (here, f"{here}/table", f"/results/{made['id']}"):
            refusal(http.get(path), 404, "not_found")
        for verb in ("cancel", "retry"):
            refusal(http.post(f"{here}/{verb}"), 404, "not_found")
        assert http.get("/experiments").json()["items"] == []
        answer = http.post("/jobs", json=GRID | {"queue": {"project": project}})
        assert [error["pointer"] for error in refusal(answer, 422, "unknown_reference")["errors"]] == ["/base/dataset"]
        refusal(http.post("/jobs", json=GRID), 403, "forbidden")
    with lab.client(lab.key(Role.submitter)) as http:
        assert refusal(http.post(f"{here}/cancel"), 403, "forbidden")["needs_role"] == "operator"
    with lab.client(lab.key(Role.viewer)) as http:
        assert http.get(here).status_code == 200
        refusal(http.post("/jobs", json=GRID), 403, "forbidden")
