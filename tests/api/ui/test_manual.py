"""The manual is there for anybody, whole, in the pages' frame, and leads nowhere that is not there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from api.app import make_app
from api.manual import __main__ as writing
from api.manual import documents, markdown, site
from api.settings import ApiSettings
from tests.api.ui.conftest import Browser

ROOT = Path(__file__).parents[3]
OPENAPI = make_app(ApiSettings()).openapi()


def test_nobody_has_to_sign_in_and_every_page_leads_to_it(browse: Browser) -> None:
    http = browse(None)
    assert http.get("/manual").headers["location"] == "/manual/index.html"
    answer = http.get("/manual/index.html")
    assert answer.status_code == 200
    assert "The manual of cmac-lab" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert 'href="/manual/index.html"' in http.get("/ui/sign-in").text
    assert 'href="/manual/index.html"' in browse().get("/ui/queue").text


def test_all_that_a_page_asks_for_is_there_and_from_here(browse: Browser) -> None:
    http = browse(None)
    asked: set[str] = set()
    for chapter in [*map(site.address, site.chapters(OPENAPI)), site.SEARCH]:
        text = http.get(f"/manual/{chapter}").text
        assert "<script>" not in text
        assert " style=" not in text
        found = re.findall(r'(?:href|src)="([^"#]+)', text)
        outside = {link for link in found if "://" in link and not link.startswith(("https://", "http://"))}
        assert outside == set()
        loaded = re.findall(r'(?:src|rel="stylesheet" href)="([^"]+)"', text)
        assert all("://" not in link for link in loaded)
        asked |= {urljoin(f"/manual/{chapter}", link) for link in found if "://" not in link}
    assert {"/manual/demo.png", "/manual/words.js", "/manual/api.html"} <= asked
    gone = {path: code for path in asked if (code := http.get(path).status_code) >= 400}
    assert gone == {}


def test_what_there_is_not_is_a_page_that_says_so(browse: Browser) -> None:
    for name in ("nothing.html", "../README.md", "%2e%2e/pyproject.toml", "docs/index.md"):
        answer = browse(None).get(f"/manual/{name}")
        assert answer.status_code == 404
        assert 'cmac-lab"\nversion' not in answer.text


def test_every_call_has_a_section_with_an_example(browse: Browser) -> None:
    text = browse(None).get("/manual/api.html").text
    for path, operations in OPENAPI["paths"].items():
        for method in operations:
            assert f'<h3 id="{markdown.slug(f"{method} {path}")}">{method.upper()} {path}</h3>' in text
    assert re.sub(r"<[^>]+>", "", text).count("curl ") >= len(OPENAPI["paths"])
    assert "illegal_move" in text


def test_the_manual_leads_nowhere_that_is_not_there() -> None:
    assert site.troubles(OPENAPI, ROOT) == []


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("[x](NOTHING.md)", "no such file"),
        ("[x](START.md#no-such-heading)", "no heading #no-such-heading"),
        ("[x](#nor-this)", "no heading #nor-this"),
        ("[x](../cmac_core/nothing.py)", "no such file"),
        ("![](demo.png)", "a picture has no words"),
    ],
)
def test_a_broken_link_is_found(monkeypatch: pytest.MonkeyPatch, text: str, trouble: str) -> None:
    real = site._rendered
    broken = markdown.render(f"# T\n\n{text}\n", lambda link: link)
    monkeypatch.setattr(site, "_rendered", lambda one: broken if one.name == "TUTORIAL.md" else real(one))
    assert any("TUTORIAL.md" in line and trouble in line for line in site.troubles(OPENAPI, ROOT))


def test_the_same_pages_are_a_site_on_a_disk(tmp_path: Path) -> None:
    writing.write(tmp_path, OPENAPI)
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) == len(site.chapters(OPENAPI)) + 1
    for page in pages:
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if "://" not in link and not link.startswith("mailto:"):
                assert not link.startswith("/"), f"{page.name}: {link}"
                assert (tmp_path / link).exists(), f"{page.name}: {link}"


def test_words_to_search_name_places_that_exist() -> None:
    rows: list[dict[str, Any]] = json.loads(site.words(OPENAPI).removeprefix("window.manual = ").rstrip(";\n"))
    assert len(rows) > 100
    anchors = {
        site.address(document): {h.anchor for h in one.headings} for document, one in site.chapters(OPENAPI).items()
    }
    for row in rows:
        page, _, anchor = row["at"].partition("#")
        assert page in anchors
        assert not anchor or anchor in anchors[page]
    assert any("Idempotency-Key" in row["text"] for row in rows)


def test_a_search_has_an_address(browse: Browser) -> None:
    answer = browse(None).get("/manual/search.html", params={"q": "fair share"})
    assert answer.status_code == 200
    assert 'src="words.js"' in answer.text


def test_marks_for_tests_are_not_shown(browse: Browser) -> None:
    assert "not run:" not in browse(None).get("/manual/start.html").text


def test_a_wheel_carries_the_documents(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("api", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for path in (*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "setup.py"):
        shutil.copy(path, source)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    packed = tmp_path / "built" / "api" / "manual" / "documents"
    assert sorted(documents.files(packed)) == sorted(documents.files(ROOT))
    assert (packed / "docs" / "demo.png").is_file()


def test_each_image_that_installs_the_package_has_the_documents() -> None:
    for name in ("api", "worker"):
        lines = (ROOT / "docker" / f"{name}.Dockerfile").read_text().splitlines()
        copied = {source for line in lines if line.startswith("COPY") for source in line.split()[1:-1]}
        assert {"docs", "setup.py", *(path.name for path in ROOT.glob("*.md"))} <= copied
    assert {"docs", "setup.py"}.isdisjoint((ROOT / ".dockerignore").read_text().split())
