"""Clips with their maps, and where a script finds the numbers and the film."""

import json
import re
import uuid
from html import unescape
from typing import Any

import pytest
from sqlalchemy import update

from cmac_core.events import Ended, Result
from store import database
from store.keys import Role
from store.tables import Job
from tests.api.ui.conftest import Browser

PANES = {"frames": [6, 26, 240, 240], "sound": [6, 272, 240, 96]}


@pytest.fixture
def attended(lab: Any) -> str:
    """An attention job over a clip with sound and a silent one."""
    job = lab.submit(name=f"maps {uuid.uuid4().hex[:6]}")
    with database.sessions.begin() as session:  # a real one needs a trained model
        session.execute(update(Job).where(Job.id == uuid.UUID(job)).values(kind="attention"))
    lease = lab.start(job)
    files = []

    def add(name: str, media_type: str, form: str, **meta: Any) -> None:
        files.append(lab.artifact(job, name, name.encode(), media_type, f"attention_{form}", **meta))

    numbers = {"a/<one>": (0.9, 0.2, 1.0), "b/two": (-0.1, 0.4, 0.0)}
    for clip, silent in (("a/<one>", False), ("b/two", True)):
        agreement, confidence, pointing = numbers[clip]
        stem = f"{clip[0]}-{uuid.uuid4()}"
        place = {"clip": clip, "t0_s": 1.5, "silent": silent}
        about = {"map": "s", "shape": [2, 4, 4], "range": [0.25, 0.75], "scores": {"iou": 0.5, "pointing": pointing}}
        about |= {"agreement": agreement, "confidence": confidence}
        for modality in ("video", "audio"):
            add(f"{stem}-{modality}.npz", "application/x-npz", "raw", **place, **about, modality=modality)
        both = place | {"modality": "both", "map": "both"}
        add(f"{stem}.png", "image/png", "png", **both)
        add(f"{stem}.mp4", "video/mp4", "mp4", **both, panes=PANES)
    lab.tell(lease, *files, Result(values=(), protocol={}, lineage={}), Ended(outcome="finished"))
    lab.finish(lease)
    return str(job)


def test_the_gallery_shows_each_clip_and_marks_silence(lab: Any, browse: Browser, attended: str) -> None:
    http = browse()
    assert attended in http.get("/ui/attention").text
    text = http.get(f"/ui/jobs/{attended}/attention").text
    assert "2 clips" in text
    assert re.findall(r"<figcaption>([^<]*?)( <strong[^>]*>silent</strong>)?<", text) == [
        ("a/&lt;one&gt;", ""),
        ("b/two", ' <strong class="warm">silent</strong>'),
    ]
    only = http.get(f"/ui/jobs/{attended}/attention?silent=true").text
    assert re.findall(r"<figcaption>([^<]*?) ?<", only) == ["b/two"]
    first = http.get(f"/ui/jobs/{attended}/attention?limit=1").text
    following = unescape(re.findall(r'href="(\?[^"]+)" rel="next"', first)[0])
    assert "b/two" in http.get(f"/ui/jobs/{attended}/attention{following}&limit=1").text


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("agreement", "b/two"), ("-agreement", "a/"), ("confidence", "a/"), ("-confidence", "b/two"),
        ("-error", "b/two"), ("error", "a/"),
    ],
)  # fmt: skip
def test_the_gallery_is_sorted_by_what_one_looks_for(browse: Browser, attended: str, sort: str, first: str) -> None:
    http = browse()
    text = http.get(f"/ui/jobs/{attended}/attention", params={"sort": sort}).text
    assert re.findall(r"<figcaption>([^<]*)", text)[0].startswith(first)
    assert f'<option value="{sort}" selected>' in text
    pages = [text := http.get(f"/ui/jobs/{attended}/attention", params={"sort": sort, "limit": 1}).text]
    pages.append(
        http.get(f"/ui/jobs/{attended}/attention{unescape(re.findall(r'href=.([?][^>]+). rel=.next', text)[0])}").text
    )
    assert [len(re.findall("<figcaption>", page)) for page in pages] == [1, 1]
    refused = http.get(f"/ui/jobs/{attended}/attention", params={"sort": "beauty"})
    assert (refused.status_code, "-confidence" in refused.text) == (400, True)


def test_a_clips_page_names_film_panes_and_numbers(lab: Any, browse: Browser, attended: str) -> None:
    http = browse()
    gallery = http.get(f"/ui/jobs/{attended}/attention").text
    text = http.get(unescape(re.findall(r'<figure><a href="([^"]+)"', gallery)[0])).text
    assert "a/&lt;one&gt;" in text
    shown = json.loads(unescape(re.findall(r'data-shown="([^"]+)"', text)[0]))
    assert shown["panes"] == PANES
    assert set(shown["raw"]) == {"video/s", "audio/s"}
    assert all(http.get(url).status_code == 200 for url in shown["raw"].values())
    assert "0.25" in text
    assert "iou 0.5" in text
    assert "is silent" not in text
    assert "is silent" in http.get(f"/ui/jobs/{attended}/attention", params={"clip": "b/two"}).text


def test_a_clip_without_maps_and_a_foreign_job_are_no_page(
    lab: Any, browse: Browser, attended: str, project: str
) -> None:
    assert browse().get(f"/ui/jobs/{attended}/attention", params={"clip": "none"}).status_code == 404
    assert browse(Role.admin, project=project).get(f"/ui/jobs/{attended}/attention").status_code == 404
