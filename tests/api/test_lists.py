"""Lists: pages that new rows do not shift, filters that say what they know."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def five(lab: Any, project: str) -> list[str]:
    """Five jobs with a label that nobody else has, oldest first."""
    return [lab.submit(name=f"job {n}", queue={"labels": {"test": project, "n": str(n)}}) for n in range(5)]


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def test_pages_follow_each_other_though_jobs_come_in_between(lab: Any, project: str, five: list[str]) -> None:
    first = lab.http.get("/jobs", params={"label.test": project, "limit": 2})
    assert ids(first.json()) == [five[4], five[3]]
    lab.submit(queue={"labels": {"test": project}})
    assert first.headers["link"].endswith('; rel="next"')
    second = lab.http.get(first.headers["link"].partition(">")[0].lstrip("<")).json()
    assert ids(second) == [five[2], five[1]]
    third = lab.http.get("/jobs", params={"label.test": project, "limit": 2, "cursor": second["next_cursor"]}).json()
    assert (ids(third), third["next_cursor"]) == ([five[0]], None)


def test_filters_are_joined_by_and_and_repeated_ones_by_or(lab: Any, project: str, five: list[str]) -> None:
    lab.http.post(f"/jobs/{five[0]}/cancel")
    mine = {"label.test": project, "sort": "submitted_at"}
    assert ids(lab.http.get("/jobs", params={**mine, "state": "cancelled"}).json()) == [five[0]]
    assert ids(lab.http.get("/jobs", params={**mine, "label.n": ["1", "3"]}).json()) == [five[1], five[3]]
    assert ids(lab.http.get("/jobs", params={**mine, "name": "job 2"}).json()) == [five[2]]
    assert ids(lab.http.get("/jobs", params={**mine, "kind": "pack"}).json()) == []
    since = lab.http.get(f"/jobs/{five[2]}").json()["submitted_at"]
    assert ids(lab.http.get("/jobs", params={**mine, "submitted_before": since}).json()) == five[:2]
    assert lab.http.get("/jobs", params={**mine, "count": True}).json()["count"] == 5


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("stat=queued", "bad_filter"),
        ("state=wating", "bad_filter"),
        ("sort=size", "bad_filter"),
        ("submitted_after=yesterday", "bad_filter"),
        ("checkpoint=1", "bad_filter"),
        ("limit=0", "bad_request"),
        ("limit=1000", "bad_request"),
        ("limit=many", "bad_request"),
        ("cursor=nonsense", "bad_cursor"),
        ("cursor=AAAA", "bad_cursor"),
        ("name=%00", "bad_request"),
    ],
)
def test_what_a_list_does_not_know_is_an_error_and_not_silence(lab: Any, query: str, code: str) -> None:
    answer = lab.http.get(f"/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_an_error_names_what_would_be_right(lab: Any) -> None:
    assert "queued" in lab.http.get("/jobs?state=wating").json()["allowed"]
    assert "state" in lab.http.get("/jobs?stat=queued").json()["allowed"]
    assert lab.http.get("/me?x=1").json()["allowed"] == []


def test_a_cursor_belongs_to_its_filters(lab: Any, project: str, five: list[str]) -> None:
    cursor = lab.http.get("/jobs", params={"label.test": project, "limit": 2}).json()["next_cursor"]
    answer = lab.http.get("/jobs", params={"limit": 2, "cursor": cursor})
    assert answer.json()["code"] == "bad_cursor"


def test_an_unchanged_list_costs_an_empty_answer(lab: Any, project: str, five: list[str]) -> None:
    params = {"label.test": project}
    tag = lab.http.get("/jobs", params=params).headers["etag"]
    assert lab.http.get("/jobs", params=params, headers={"If-None-Match": tag}).status_code == 304
    lab.http.post(f"/jobs/{five[0]}/cancel")
    assert lab.http.get("/jobs", params=params, headers={"If-None-Match": tag}).status_code == 200


def test_a_job_that_has_not_changed_costs_an_empty_answer(lab: Any) -> None:
    job = lab.submit()
    tag = lab.http.get(f"/jobs/{job}").headers["etag"]
    assert lab.http.get(f"/jobs/{job}", headers={"If-None-Match": f'"x", {tag}'}).status_code == 304
    lab.http.post(f"/jobs/{job}/cancel")
    assert lab.http.get(f"/jobs/{job}", headers={"If-None-Match": tag}).status_code == 200


def test_the_queue_is_in_the_order_in_which_jobs_are_placed(lab: Any) -> None:
    late, first = lab.submit(), lab.submit(queue={"priority": "urgent"})
    queue = lab.http.get("/queue", params={"limit": 200}).json()["items"]
    places = {row["id"]: row["position"] for row in queue}
    assert places[first] < places[late]
    assert lab.http.get(f"/jobs/{late}").json()["position"] == places[late]


def test_usage_lists_who_holds_and_who_waits(lab: Any) -> None:
    lab.submit()
    rows = lab.http.get("/queue/usage?limit=200").json()["items"]
    (mine,) = [row for row in rows if (row["project"], row["owner"]) == ("default", "admin")]
    assert mine["queued"] >= 1
    assert mine["gpu_hours"] >= 0
    assert {"gpus", "cpu_slots"} <= set(mine)


def test_machines_show_their_devices(lab: Any) -> None:
    (node,) = lab.http.get("/nodes").json()["items"]
    assert node["name"] == "here"
    assert len(node["devices"]) == 64
    assert lab.http.get(f"/nodes/{node['id']}").json()["name"] == "here"


def test_datasets_are_found_by_id_name_and_version(lab: Any, project: str) -> None:
    lab.dataset(project, version=1)
    newest = lab.dataset(project, version=2)
    found = lab.http.get(f"/datasets/{project}").json()
    assert (found["id"], found["reference"]) == (str(newest.id), f"{project}@2")
    assert lab.http.get(f"/datasets/{newest.id}").json() == found
    assert lab.http.get(f"/datasets/{project}@1").json()["version"] == 1
    assert lab.http.get(f"/datasets/{project}@3").status_code == 404
    assert [row["version"] for row in lab.http.get(f"/datasets?name={project}").json()["items"]] == [2, 1]
    assert lab.http.get(f"/datasets/{newest.id}/quarantine").json()["items"] == []
    assert "path" not in found


def test_an_archived_dataset_is_offered_no_more(lab: Any, project: str) -> None:
    dataset = lab.dataset(project)
    job = lab.submit(dataset=project)
    refused = lab.http.delete(f"/datasets/{dataset.id}")
    assert (refused.status_code, refused.json()["code"], refused.json()["by"]) == (409, "in_use", job)
    lab.http.post(f"/jobs/{job}/cancel")
    assert lab.http.delete(f"/datasets/{dataset.id}").json()["state"] == "archived"
    assert lab.http.get("/datasets", params={"name": project}).json()["items"] == []


def test_what_a_pack_refused_is_listed_with_reasons(lab: Any, project: str) -> None:
    dataset = lab.dataset(project, quarantined=1)
    folder = Path(dataset.path)
    folder.mkdir(parents=True)
    (folder / "quarantine.jsonl").write_text('{"source": "a.mp4", "reason": "truncated", "detail": "3 of 9 s"}\n')
    (row,) = lab.http.get(f"/datasets/{project}/quarantine").json()["items"]
    assert (row["source"], row["reason"]) == ("a.mp4", "truncated")


def test_roots_are_named_by_operators_and_the_same_again_changes_nothing(lab: Any, project: str, tmp_path: Any) -> None:
    body = {"name": project, "path": str(tmp_path)}
    first, second = lab.http.post("/roots", json=body), lab.http.post("/roots", json=body)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.json() in lab.http.get("/roots").json()["items"]
    other = lab.http.post("/roots", json={"name": project, "path": "/"})
    assert (other.status_code, other.json()["code"]) == (409, "already_exists")
    assert lab.http.post("/roots", json={"name": "x", "path": "relative"}).status_code == 400
    assert [e["pointer"] for e in lab.http.post("/roots", json={"nam": "x", "path": "/"}).json()["errors"]] == [
        "/name",
        "/nam",
    ]
    with lab.client(lab.key("submitter")) as http:
        assert http.post("/roots", json=body).json()["needs_role"] == "operator"


def test_events_lead_from_page_to_page(lab: Any) -> None:
    job = lab.submit()
    lab.succeed(lab.start(job))
    whole = lab.http.get(f"/jobs/{job}/events").json()["items"]
    assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
    assert whole[-1]["type"] == "end"
    first = lab.http.get(f"/jobs/{job}/events", params={"limit": 2}).json()
    rest = lab.http.get(f"/jobs/{job}/events", params={"cursor": first["next_cursor"]}).json()
    assert first["items"] + rest["items"] == whole
    assert lab.http.get(f"/jobs/{job}/events", params={"after": 2}).json()["items"] == whole[2:]
    assert lab.http.get(f"/jobs/{job}/events", params={"cursor": "x"}).json()["code"] == "bad_cursor"
