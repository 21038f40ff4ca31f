"""A headless Chromium that looks at the running service, and what no page may do in it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from store import database, keys
from store.keys import Role
from tests.system.conftest import Service

SCREENSHOTS = Path(__file__).parents[3] / "screenshots"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 60_000  # on a machine that trains meanwhile
_NONE = f"no browser found ({', '.join(_NAMES)}): apt-get install chromium"


@dataclass
class Visit:
    """One page of somebody who is signed in, and everything that went wrong on it."""

    page: Page
    url: str
    troubles: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go there by its address."""
        self.page.goto(self.url + path)
        return self.page

    def watch(self) -> None:
        """Note errors of scripts, requests that failed, and requests to other hosts."""
        self.page.on("console", lambda said: self._note(said.type in ("error", "warning"), said.text))
        self.page.on("pageerror", lambda error: self._note(True, str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", lambda answer: self._note(answer.status >= 400, f"{answer.status} {answer.url}"))
        self.page.on("request", self._asked)

    def check_accessibility(self) -> None:
        """axe finds nothing serious."""
        found = Axe().run(self.page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        shown = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious]
        assert not shown, f"{self.page.url}: {shown}"

    def fits(self) -> bool:
        """Whether the page is no wider than its window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def _failed(self, request: Request) -> None:
        left = request.failure == "net::ERR_ABORTED"  # whatever was under way when somebody left the page
        self._note(not left, f"{request.failure} {request.url}")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        here = parts.netloc == urlsplit(self.url).netloc or parts.scheme in ("data", "blob")
        self._note(not here, f"another host: {request.url}")

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.troubles.append(text)


Start = Callable[..., Visit]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(_NONE)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(service: Service, chromium: Browser) -> Iterator[Start]:
    """Sign in through the form with a new key; at the end nothing has gone wrong on any page."""
    visits: list[Visit] = []

    def start(role: Role | None = Role.viewer, user: str | None = None, **context: Any) -> Visit:
        opened = chromium.new_context(**{"viewport": SIZES["desktop"], **context})
        opened.set_default_timeout(_PATIENCE_MS)
        visit = Visit(opened.new_page(), service.url)
        visit.watch()
        visits.append(visit)
        if role is not None:
            sign_in(visit, key(role, user))
        return visit

    yield start
    for one in visits:
        one.page.context.close()
    assert [trouble for one in visits for trouble in one.troubles] == []


def key(role: Role, user: str | None = None) -> str:
    return database.transact(lambda session: keys.create_key(session, user or f"a-{role}", "browser", role)[1])


def sign_in(visit: Visit, key: str, path: str = "/") -> None:
    page = visit.open(path)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
