"""One job: what its page tells, and the one stream that keeps it live."""

import json
import re
import uuid
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from sqlalchemy import text as sql

from cmac_core.events import Ended, Metrics, Progress, Result, Started, Value
from cmac_core.specs import JOB_SPEC
from store import database
from store.ends import Reason
from store.keys import Role
from tests.api.ui.conftest import Browser
from tests.api.ui.test_queue import section


def events(answer: Any) -> Iterator[tuple[str, Any, str]]:
    """(type, data, id) as they come."""
    found: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(("event: ", "data: ", "id: ")):
            name, _, value = line.partition(": ")
            found[name] = value
        elif not line and "event" in found:
            yield found["event"], json.loads(found["data"]), found.get("id", "")
            found = {}


def test_a_page_tells_all_about_a_job(lab: Any, browse: Browser) -> None:
    job = lab.submit(name="<b>found</b>", seed=3)
    lease = lab.start(job)
    (lab.folder(job) / "log.txt").write_text("said\n")
    value = Value(name="r@1", value=57.9, n=20, split="1", pool="gap", paper=58.4, random_init=9.8, chance=1.0)
    picture = lab.artifact(job, "ranks.png", b"png", "image/png")
    lab.tell(
        lease, Started(spec={}, versions={"torch": "2.13.0"}, world_size=1), Metrics(step=1, values={"loss": 2.0}),
        picture, Result(values=(value,), protocol={}, lineage={}), Ended(outcome="finished"),
    )  # fmt: skip
    lab.finish(lease)
    text = browse().get(f"/ui/jobs/{job}").text
    assert "<b>" not in text
    assert "r@1 split 1, pool gap 57.9" in section(text, "results")
    assert "20 58.4 9.8 1" in section(text, "results")
    assert f'src="/artifacts/{picture.sha256}"' in text
    assert re.search(r"1 exited here CPU \d+", section(text, "attempts"))
    assert "torch 2.13.0" in section(text, "environment")
    assert "data-verb" not in text  # it is over and well


def test_a_spec_is_shown_as_it_was_submitted_and_whole_with_what_differs(lab: Any, browse: Browser) -> None:
    body = {
        "kind": "pretrain", "dataset": "moving@1", "scale": "small", "seed": 7, "optim": {"epochs": 3},
        "resources": {"cpu_slots": 1},
    }  # fmt: skip
    job = lab.http.post("/jobs", json=body).json()["id"]
    text = unescape(browse().get(f"/ui/jobs/{job}").text)
    assert spec_on(text, "as submitted") == body
    rows = re.findall(r'<tr class="other"><td><code>([\w.]+)</code>.*?<td>([\w ]+)</td></tr>', text, re.DOTALL)
    assert {"optim.epochs": "the submission", "optim.algorithm": "preset or scale"}.items() <= dict(rows).items()
    assert "optim.momentum" not in dict(rows)
    lab.http.post(f"/jobs/{job}/cancel")


def test_a_spec_that_nobody_wrote_is_shown_as_short_as_it_can_be(lab: Any, browse: Browser) -> None:
    base = {"kind": "retrieval", "dataset": "moving", "checkpoint": {"random_init": True}, "scale": "small"}
    made = lab.http.post("/jobs", json={"kind": "experiment", "base": base, "grid": {"n_clips": [1]}, "seeds": [7]})
    job = made.json()["members"][0]["id"]
    text = unescape(browse().get(f"/ui/jobs/{job}").text)
    short = spec_on(text, "short")
    assert JOB_SPEC.validate_python(short).model_dump(mode="json") == lab.row(job).spec
    assert (short["seed"], short["scale"]) == (7, "small")
    assert "geometry" not in short
    lab.http.post(f"/jobs/{job}/cancel")


def spec_on(text: str, form: str) -> Any:
    """The spec that a page shows in this form."""
    return json.loads(re.findall(rf'aria-label="Spec, {form}">(.*?)</pre>', text, re.DOTALL)[0])


@pytest.mark.parametrize(
    ("role", "own", "verbs"),
    [
        (Role.viewer, False, []),
        (Role.submitter, False, []),
        (Role.submitter, True, ["cancel", "hold"]),
        (Role.operator, False, ["cancel", "hold"]),
    ],
)
def test_buttons_are_there_for_who_may_and_for_what_the_state_admits(
    lab: Any, browse: Browser, role: Role, own: bool, verbs: list[str]
) -> None:
    user = f"u-{uuid.uuid4().hex[:8]}"
    with lab.client(lab.key(Role.submitter, user=user)) as http:
        job = http.post("/jobs", json=lab.row(lab.submit()).spec).json()["id"]
    looker = browse(role, user=user) if own else browse(role)
    found = re.findall(r'data-verb="(\w+)"', looker.get(f"/ui/jobs/{job}").text)
    assert found == verbs
    lab.http.post(f"/jobs/{job}/cancel")
    ended = re.findall(r'data-verb="(\w+)"', looker.get(f"/ui/jobs/{job}").text)
    assert ended == (["retry"] if verbs else [])


def test_a_foreign_and_an_unknown_job_are_no_page(lab: Any, browse: Browser, project: str) -> None:
    job = lab.submit()
    http = browse(Role.admin, project=project)
    assert [http.get(f"/ui/jobs/{one}").status_code for one in (job, uuid.uuid4(), "x")] == [404, 404, 404]
    assert http.get(f"/ui/jobs/{job}/stream").status_code == 404
    lab.http.post(f"/jobs/{job}/cancel")


def test_one_stream_tells_events_points_and_log_and_goes_on_where_it_was_cut(lab: Any, browse: Browser) -> None:
    job = lab.submit()
    lease = lab.start(job)
    log = lab.folder(job) / "log.txt"
    log.write_text("first\n")
    http, headers = browse(), {"Accept": "text/event-stream"}
    with http.stream("GET", f"/ui/jobs/{job}/stream", headers=headers) as answer:
        told = events(answer)
        lab.tell(lease, Progress(step=1, of=9, rate=1.0, unit="clips", eta_s=8, phase="train"))
        lab.tell(lease, Metrics(step=1, values={"loss": 2.0}))
        first, last = {}, ""
        while not {"state", "progress", "points", "log"} <= set(first):
            kind, data, last = next(told)
            first[kind] = data
    assert first["points"]["values"] == {"loss": 2.0}
    assert first["log"]["text"] == "first\n"
    with log.open("a") as more:
        more.write("second\n")
    lab.tell(lease, Metrics(step=2, values={"loss": 1.0}))
    lab.succeed(lease)
    with http.stream("GET", f"/ui/jobs/{job}/stream", headers=headers | {"Last-Event-ID": last}) as answer:
        rest = list(events(answer))
    assert [data["step"] for kind, data, _ in rest if kind == "points"] == [2]
    assert "".join(data["text"] for kind, data, _ in rest if kind == "log") == "second\n"
    assert [kind for kind, _, _ in rest].count("end") == 1
    assert (rest[-1][0], rest[-1][1]["state"]) == ("end", "succeeded")
    assert http.get(f"/ui/jobs/{job}/stream?after=1-x-").status_code == 400


def test_a_failed_job_says_what_to_do(lab: Any, browse: Browser) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.finish(lease, Reason.diverged, detail="the loss is <nan>", hint="Lower optim.lr.")
    said = section(browse().get(f"/ui/jobs/{job}").text, "standing")
    assert "diverged : the loss is <nan> Lower optim.lr." in said


@pytest.mark.system
def test_of_a_million_points_four_hundred_come(lab: Any) -> None:
    job = lab.submit()
    rows = "SELECT :job, 1, 'loss', i, sin(i) FROM generate_series(1, 1000000) AS i"
    with database.sessions.begin() as session:
        session.execute(sql(f"INSERT INTO metrics (job_id, epoch, name, step, value) {rows}"), {"job": job})
        session.execute(sql("ANALYZE metrics"))
    (curve,) = lab.http.get(f"/jobs/{job}/metrics?points=400").json()["series"]
    with database.sessions.begin() as session:
        session.execute(sql("DELETE FROM metrics WHERE job_id = :job"), {"job": job})
    lab.http.post(f"/jobs/{job}/cancel")
    assert len(curve["x"]) == 400
