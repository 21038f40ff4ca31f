"""Attention maps from the command line: fetched as ever, listed, and opened in a browser."""

import json
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Lab
from tests.client.conftest import Cmac


@pytest.fixture
def job(lab: Lab) -> str:
    job = lab.submit()
    lease = lab.start(job)
    for clip in ("a/b c", "d"):
        meta = {"clip": clip, "modality": "video", "map": "s", "t0_s": 0.5, "shape": [2, 4, 4]}
        name = f"{clip[0]}.png"
        lab.tell(lease, lab.artifact(job, name, b"\x89PNG" + clip.encode(), "image/png", "attention_png", **meta))
    lab.succeed(lease)
    return job


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands for the browser, and the file in which it notes what it was to show."""
    program, noted = tmp_path / "browser", tmp_path / "shown"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen({str(noted)!r}, 'w').write(sys.argv[1])\n")
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{program} %s")
    monkeypatch.setattr("webbrowser._tryorder", None)  # it is read once a process
    monkeypatch.setattr("webbrowser._browsers", {})
    return noted


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_maps_are_fetched_with_get_and_as_before_without(cmac: Cmac, job: str, tmp_path: Path) -> None:
    said = cmac("attention", "get", job[:8], "--out", str(tmp_path / "new"))
    before = cmac("attention", job[:8], "--out", str(tmp_path / "old"))
    options_first = cmac("attention", "--out", str(tmp_path / "first"), job)
    assert (said.code, before.code, options_first.code) == (0, 0, 0)
    names = [{file.name for file in (tmp_path / folder).iterdir()} for folder in ("new", "old", "first")]
    assert names == [{"a_b_c.video.s.png", "d.video.s.png"}] * 3
    wrong = cmac("attention", "fetch")
    assert (wrong.code, "No such command" in wrong.err) == (2, True)


def test_maps_are_listed(cmac: Cmac, job: str, lab: Lab) -> None:
    assert cmac("attention", "list", job, "--quiet").out.splitlines() == ["a/b c", "d"]
    rows = json.loads(cmac("attention", "list", job, "--clip", "d", "--json").out)
    assert [row["clip"] for row in rows] == ["d"]
    assert "2x4x4" in cmac("attention", "list", job).out
    none = cmac("attention", "list", lab.submit())
    assert (none.code, "no attention maps" in none.err) == (2, True)


def test_a_clips_page_opens_in_the_browser(cmac: Cmac, lab: Lab, job: str, browser: Path) -> None:
    said = cmac("attention", "open", job[:8], "a/b c")
    assert (said.code, said.out) == (0, "")
    page = browser.read_text()
    assert page in said.err
    shown = lab.http.get(page, headers={"Accept": "text/html"})
    assert shown.status_code == 200
    assert "a/b c" in shown.text
    assert cmac("attention", "open", job, "nowhere").code == 2


@pytest.mark.usefixtures("no_browser")
def test_without_a_browser_the_address_is_printed(cmac: Cmac, lab: Lab, job: str) -> None:
    assert cmac("attention", "open", job[:8]).out.strip() == f"{lab.url}/ui/jobs/{job}/attention"
    assert json.loads(cmac("open", job[:8], "--json").out) == {"url": f"{lab.url}/ui/jobs/{job}"}


def test_only_the_address_is_printed_when_that_is_asked_for(cmac: Cmac, lab: Lab, job: str, browser: Path) -> None:
    assert cmac("open", job, "--print").out.strip() == f"{lab.url}/ui/jobs/{job}"
    assert not browser.exists()
