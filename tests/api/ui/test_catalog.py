"""Checkpoints and datasets as one chooses them."""

import json
import re
import uuid
from html import unescape
from pathlib import Path
from typing import Any

from cmac_core.events import DatasetMade, Ended, Started
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


def test_a_dataset_has_clips_to_play_histograms_and_what_was_left_out_with_reasons(
    lab: Any, browse: Browser, tmp_path: Path
) -> None:
    name = f"d-{uuid.uuid4().hex[:8]}"
    source = {"generate": "sounding-objects", "grade": "easy", "clips": 8}
    job = lab.http.post("/jobs", json={"kind": "pack", "dataset": name, "source": source}).json()["id"]
    lease = lab.start(job)
    lab.tell(lease, Started(spec={}, versions={}, world_size=1))
    sample = lab.artifact(job, "00.mp4", b"mp4", "video/mp4", "sample", clip="a<b>", labels={"class": "dog"})
    report = lab.artifact(job, "pack-report.json", b"{}", "application/json")
    rows = [{"source": f"{i:03}.avi", "reason": ("no_audio", "truncated")[i % 2], "detail": "<i>"} for i in range(60)]
    (tmp_path / "quarantine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = DatasetMade(
        path=str(tmp_path), manifest_sha256="0" * 64, clips=2, quarantined=60, hours=1.0, bytes=3, media="video",
        with_audio=2, labels={"class": 2}, counts={"train": 2},
    )  # fmt: skip
    lab.tell(lease, sample, report, made, Ended(outcome="finished"))
    lab.finish(lease)
    http = browse()
    assert f'href="/ui/datasets/{name}@1"' in http.get("/ui/datasets", params={"limit": 200}).text
    text = http.get(f"/ui/datasets/{name}@1").text
    assert f'src="/artifacts/{sample.sha256}" aria-label="a&lt;b&gt;"' in text
    assert f'data-report="/artifacts/{report.sha256}"' in text
    assert re.findall(r'">(no_audio|truncated)</a> (\d+)', text) == [("no_audio", "30"), ("truncated", "30")]
    assert "<i>" not in text
    some = http.get(f"/ui/datasets/{name}@1", params={"reason": "truncated", "limit": 20}).text
    assert some.count("&lt;i&gt;") == some.count('<td class="fixed">truncated</td>') == 20
    more = unescape(re.findall(r'href="(\?reason[^"]*)#refused" rel="next"', some)[0])
    assert http.get(f"/ui/datasets/{name}@1{more}").text.count('<td class="fixed">truncated</td>') == 10
    start = form(http.get("/ui/submit", params={"kind": "pretrain", "dataset": f"{name}@1"}).text)["start"]
    assert start == {"kind": "pretrain", "dataset": f"{name}@1"}
    (tmp_path / "quarantine.jsonl").unlink()
    assert "are gone from" in http.get(f"/ui/datasets/{name}@1").text
    assert browse(Role.admin, project=f"p-{name}").get(f"/ui/datasets/{name}@1").status_code == 404


def test_datasets_tell_what_is_in_them(lab: Any, browse: Browser) -> None:
    name = f"d-{uuid.uuid4().hex[:8]}"
    lab.dataset(name, clips=12_345, quarantined=6, hours=20.5, bytes=3_210_000_000)
    text = " ".join(browse().get("/ui/datasets", params={"limit": 200}).text.split())
    row = text[text.index(name) :].split("</tr>")[0]
    for told in ("12,345", "20.5", "3.21 GB", "test 20, train 80", "class (8)"):
        assert told in row
