"""Photograph the pages of this checkout's running service for README and manual: `make screenshots`, after `make demo`.

A small experiment of its own shows the queue at work and a table that is filled; it takes some minutes.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from client import Client, Experiment
from client.address import service_key

FOLDER = Path(__file__).parent / "pages"
BINARIES = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1280, "height": 800}
PATIENCE_MS = 60_000


def main() -> int:
    """0 when all pictures are written; 2 with what is missing."""
    binary = next((path for name in BINARIES if (path := shutil.which(name))), None)
    if binary is None:
        return _missing("There is no Chromium here. Try: sudo apt-get install chromium")
    with Client() as lab, sync_playwright() as playwright:
        found = {kind: next(lab.jobs(1, kind=kind, state="succeeded"), None) for kind in ("pretrain", "attention")}
        training, maps = found["pretrain"], found["attention"]
        if training is None or maps is None:
            return _missing("There is nothing to photograph yet. Run make demo first.")
        dataset = str(lab.job(training.id).row["spec"]["dataset"])
        experiment = lab.submit(temperatures(dataset))
        assert isinstance(experiment, Experiment)
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        photograph(lab, browser, training.id, maps.id, dataset, experiment)
        browser.close()
    return 0


def _missing(what: str) -> int:
    print(what, file=sys.stderr)
    return 2


def temperatures(dataset: str) -> dict[str, Any]:
    """Three short trainings over one axis, each with two evaluations."""
    of = {"dataset": dataset, "scale": "small"}
    return {
        "kind": "experiment", "name": "temperature of the contrast", "seeds": [0],
        "base": {"kind": "pretrain", **of, "optim": {"epochs": 2}},
        "grid": {"contrastive.tau": [0.05, 0.1, 0.2]},
        "then": [
            {"key": "retrieval", "spec": {"kind": "retrieval", "pool": ["gap"], "k": [1, 5], **of}},
            {"key": "probe", "spec": {"kind": "probe", "modality": "audio", **of}},
        ],
    }  # fmt: skip


def photograph(lab: Client, browser: Browser, training: str, maps: str, dataset: str, experiment: Experiment) -> None:
    """All pictures, into FOLDER."""
    FOLDER.mkdir(exist_ok=True)
    with signed_in(browser, lab.url) as page:
        page.goto(f"{lab.url}/ui/queue")
        page.wait_for_function("() => document.querySelector('#running progress')")
        keep(page, "queue")
        page.goto(f"{lab.url}/ui/jobs/{training}?smooth=0.6")
        page.wait_for_function("() => document.querySelector('#curves .main-svg')")
        page.evaluate("document.getElementById('curves-title').scrollIntoView()")
        keep(page, "job")
        page.goto(f"{lab.url}/ui/datasets/{dataset}")
        page.wait_for_function("() => document.querySelector('#spread[data-ready]')")
        keep(page, "dataset")
        page.goto(f"{lab.url}/ui/submit?kind=retrieval&dataset={dataset}")
        page.get_by_label("checkpoint (needed)").fill(f'{{"job": "{training}"}}')
        page.get_by_role("button", name="Check and estimate").click()
        page.get_by_text("It can run.").wait_for()
        keep(page, "submit")
        attention(page, lab.url, maps, "attention")
    with signed_in(browser, lab.url, color_scheme="dark") as page:
        attention(page, lab.url, maps, "attention-dark")
    while not experiment.refresh().final:
        time.sleep(2)
    with signed_in(browser, lab.url) as page:
        page.goto(f"{lab.url}/ui/experiments/{experiment.id}")
        page.wait_for_function("() => document.querySelector('[data-figure] .main-svg')")
        keep(page, "experiment")


def attention(page: Page, url: str, maps: str, name: str) -> None:
    """The clip whose prediction is the most confident, in the middle of its film."""
    page.goto(f"{url}/ui/jobs/{maps}/attention?sort=-confidence")
    page.locator(".gallery a").first.click()
    page.wait_for_function("() => document.querySelector('[data-ready]')")
    page.get_by_label("Scale").select_option("own")
    page.get_by_label("Time").fill("0.5")
    keep(page, name)


@contextmanager
def signed_in(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page of whoever started this service."""
    opened = browser.new_context(viewport=SIZE, **context)  # type: ignore[arg-type]
    opened.set_default_timeout(PATIENCE_MS)
    page = opened.new_page()
    page.goto(f"{url}/ui/sign-in")
    page.get_by_label("API key").fill(service_key() or "")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    yield page
    opened.close()


def keep(page: Page, name: str) -> None:
    """What the window shows, once pictures and plots have come."""
    page.wait_for_timeout(1500)  # a page with a stream is never idle
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    print(path)


if __name__ == "__main__":
    raise SystemExit(main())
