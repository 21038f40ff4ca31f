"""GET /results/{id}: whatever has become of a job, the answer says which."""

import threading
import time
import uuid
from typing import Any

from cmac_core.events import Metrics, Progress, Saved, Warned
from store.ends import Reason


def test_an_unknown_job_has_no_result(lab: Any) -> None:
    answer = lab.http.get(f"/results/{uuid.uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_result_of_a_waiting_job_says_that_it_waits(lab: Any) -> None:
    answer = lab.http.get(f"/results/{lab.submit()}")
    body = answer.json()
    assert answer.status_code == 202
    assert (body["final"], body["state"], body["values"]) == (False, "queued", [])
    assert answer.headers["retry-after"] == "10"


def test_the_result_of_a_running_job_shows_how_far_it_is(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, Progress(phase="train", step=120, of=500, rate=49.1, unit="clips", eta_s=8))
    answer = lab.http.get(f"/results/{job}")
    body = answer.json()
    assert (answer.status_code, body["final"], body["state"]) == (202, False, "running")
    assert (body["progress"]["step"], body["progress"]["of"], body["progress"]["rate"]) == (120, 500, 49.1)
    lab.succeed(lease)


def test_the_result_of_a_success_has_values_with_their_n_and_what_they_were_made_of(lab: Any) -> None:
    job = lab.submit(seed=5)
    lab.succeed(lab.start(job))
    answer = lab.http.get(f"/results/{job}")
    body = answer.json()
    assert (answer.status_code, body["final"], body["state"]) == (200, True, "succeeded")
    (value,) = body["values"]
    assert (value["name"], value["value"], value["n"], value["chance"]) == ("r@1", 57.9, 20, 12.5)
    assert "partial" not in value
    assert body["lineage"]["dataset"]["name"] == "moving@1"
    assert body["protocol"] == {"frames": 8}
    assert answer.headers["cache-control"] == "private, no-cache"


def test_what_a_job_warned_of_stands_in_its_result_once(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    warned = Warned(code="queue_too_long", message="moco.K: more than half of the clips")
    lab.tell(lease, warned, warned)
    lab.succeed(lease)
    assert lab.http.get(f"/results/{job}").json()["warnings"] == [warned.model_dump(exclude={"type"})]


def test_the_result_of_a_failure_says_why_and_what_to_do(lab: Any) -> None:
    job = lab.submit()
    lab.finish(lab.start(job), Reason.oom, detail="CUDA out of memory", hint="halve optim.batch", log_tail="Traceback")
    answer = lab.http.get(f"/results/{job}")
    body = answer.json()
    assert (answer.status_code, body["final"], body["state"]) == (200, True, "failed")
    assert body["error"] == {
        "reason": "oom", "detail": "CUDA out of memory", "hint": "halve optim.batch", "log_tail": "Traceback",
    }  # fmt: skip
    retry = lab.http.post(body["links"]["retry"])
    assert retry.status_code == 202
    assert lab.http.get(f"/results/{job}").json()["retried_by"] == retry.json()["id"]


def test_the_result_of_a_cancelled_job_says_by_whom(lab: Any) -> None:
    job = lab.submit()
    lab.http.post(f"/jobs/{job}/cancel")
    answer = lab.http.get(f"/results/{job}")
    body = answer.json()
    assert (answer.status_code, body["final"], body["state"]) == (200, True, "cancelled")
    assert body["cancelled"]["by"] == "admin"
    assert body["cancelled"]["at"]


def test_an_unchanged_result_costs_an_empty_answer(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    tag = lab.http.get(f"/results/{job}").headers["etag"]
    again = lab.http.get(f"/results/{job}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["retry-after"]) == (304, b"", "10")
    lab.tell(lease, Progress(phase="train", step=1, of=2))
    assert lab.http.get(f"/results/{job}", headers={"If-None-Match": tag}).status_code == 202
    lab.succeed(lease)


def test_waiting_for_a_result_ends_when_something_changes(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    later = threading.Timer(0.3, lab.succeed, [lease])
    later.start()
    began = time.monotonic()
    answer = lab.http.get(f"/results/{job}", params={"wait": 15})
    later.join()
    assert time.monotonic() - began < 5
    assert answer.json()["version"] > 3
    final = lab.http.get(f"/results/{job}", params={"wait": 15})  # at once: nothing will change
    assert final.json()["final"]


def test_waiting_ends_by_itself(lab: Any) -> None:
    job = lab.submit()
    answer = lab.http.get(f"/results/{job}", params={"wait": 0.2})
    assert answer.status_code == 202


def test_attention_maps_come_with_their_files(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    for form, media in (("raw", "application/octet-stream"), ("png", "image/png")):
        for number in range(3):
            where = {"clip": f"c{number}", "modality": "video", "map": "s", "t0_s": 0.5, "range": [0.1, 0.9]}
            data = f"{form}{number}".encode()
            lab.tell(lease, lab.artifact(job, f"c{number}.{form}", data, media, f"attention_{form}", **where))
    lab.succeed(lease)
    first = lab.http.get(f"/results/{job}/attention", params={"limit": 2}).json()
    rest = lab.http.get(f"/results/{job}/attention", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["clip"] for item in first["items"] + rest["items"]] == ["c0", "c1", "c2"]
    assert rest["next_cursor"] is None
    (one,) = lab.http.get(f"/results/{job}/attention", params={"clip": "c1", "map": "s"}).json()["items"]
    assert lab.http.get(one["raw"]).content == b"raw1"
    assert lab.http.get(one["png"]).headers["content-type"] == "image/png"
    assert lab.http.get(f"/results/{job}/attention", params={"map": "x"}).json()["code"] == "bad_request"


def test_curves_keep_their_spikes_and_count_what_is_not_finite(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    points = [Metrics(step=n, train_epoch=n / 100, values={"loss": 1.0, "=r1": None}) for n in range(1000)]
    points[500] = Metrics(step=500, values={"loss": 99.0, "=r1": 0.5})
    lab.tell(lease, *points)
    series = {one["name"]: one for one in lab.http.get(f"/jobs/{job}/metrics?points=50").json()["series"]}
    assert len(series["loss"]["x"]) <= 52
    assert max(series["loss"]["max"]) == 99.0
    assert (series["loss"]["thinned"], series["=r1"]["non_finite"]) == (True, 999)
    only = lab.http.get(f"/jobs/{job}/metrics?names=loss&from_step=990&x=train_epoch").json()["series"]
    assert [one["name"] for one in only] == ["loss"]
    assert only[0]["x"][0] == 9.9
    table = lab.http.get(f"/jobs/{job}/metrics", params={"points": 0, "format": "csv"})
    lines = table.text.splitlines()
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert lines[0] == "name,step,train_epoch,value,epoch,at"
    assert len(lines) == 2001
    assert lines[1].startswith("'=r1,0,0.0,,1,")
    assert lab.http.get(f"/jobs/{job}/metrics?points=0").json()["allowed"] == ["csv"]
    refused = lab.http.get(f"/jobs/{job}/metrics", headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    lab.succeed(lease)


def test_what_a_job_leaves_is_listed(lab: Any) -> None:
    job = lab.submit()
    lease = lab.start(job)
    file = lab.folder(job) / "state.pt"
    file.write_bytes(b"x" * 10)
    lab.tell(lease, Saved(step=3, train_epoch=1.5, path="state.pt", sha256="ab" * 32, bytes=10))
    lab.tell(lease, lab.artifact(job, "ranks.csv", b"1,2", "text/csv"))
    (checkpoint,) = lab.http.get(f"/jobs/{job}/checkpoints").json()["items"]
    assert (checkpoint["step"], checkpoint["train_epoch"], checkpoint["state"]) == (3, 1.5, "ok")
    assert "path" not in checkpoint
    alone = lab.http.get(f"/checkpoints/{checkpoint['id']}").json()
    assert alone | checkpoint == alone, "the list says less, and nothing else"
    assert alone["file"] is None, "encoders leave a training at its end"
    assert checkpoint in lab.http.get("/checkpoints", params={"job": job}).json()["items"]
    (artifact,) = lab.http.get(f"/jobs/{job}/artifacts").json()["items"]
    assert lab.http.get(artifact["url"]).content == b"1,2"
    (attempt,) = lab.http.get(f"/jobs/{job}/attempts").json()["items"]
    assert attempt["epoch"] == 1
    assert lab.http.get(f"/checkpoints/{uuid.uuid4()}").status_code == 404
    lab.succeed(lease)


def test_values_of_many_jobs_come_as_one_table(lab: Any, project: str) -> None:
    for seed in range(2):
        lab.succeed(lab.start(lab.submit(seed=seed, name="=1+1", queue={"labels": {"table": project}})))
    mine = {"label.table": project}
    rows = lab.http.get("/results", params=mine).json()["items"]
    assert [(row["name"], row["value"], row["n"], row["dataset"]) for row in rows] == [
        ("r@1", 57.9, 20, "moving@1")
    ] * 2
    table = lab.http.get("/results", params=mine, headers={"Accept": "text/csv"}).text.splitlines()
    assert len(table) == 3
    assert table[0].startswith("job,kind,job_name,")
    assert ",'=1+1," in table[1]  # a spreadsheet must not calculate it
    assert lab.http.get("/results", params={"kind": "none"}).json()["code"] == "bad_filter"
