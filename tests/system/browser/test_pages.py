"""The pages as a person sees them, in a real browser on the whole service."""

import math
import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from client import Client
from store.keys import Role
from store.states import FINAL
from tests.system.browser.conftest import SCREENSHOTS, SIZES, Start, Visit, key, sign_in
from tests.system.conftest import Service
from tests.system.test_faults import training

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def trained(service: Service, tiny: str) -> uuid.UUID:
    """A training that is over, with curves and checkpoints."""
    job = service.submit(training(tiny, epochs=6) | {"name": "first training"})
    service.finished(job)
    return job


@pytest.fixture(scope="module")
def attended(service: Service, tiny: str, trained: uuid.UUID) -> uuid.UUID:
    """Maps of what the training left."""
    spec = {
        "kind": "attention", "name": "first maps", "dataset": tiny, "checkpoint": {"job": str(trained)},
        "scale": "small", "limit": 3, "score_limit": 3, "resources": {"cpu_slots": 1},
    }  # fmt: skip
    job = service.submit(spec)
    assert service.finished(job)[0].state == "succeeded", service.job(job).detail
    return job


@pytest.fixture(scope="module")
def probed(service: Service, tiny: str) -> uuid.UUID:
    """A linear probe, which leaves a confusion matrix."""
    spec = {
        "kind": "probe", "name": "first probe", "dataset": tiny, "scale": "small", "modality": "video",
        "checkpoint": {"random_init": True}, "resources": {"cpu_slots": 1},
    }  # fmt: skip
    job = service.submit(spec)
    assert service.finished(job)[0].state == "succeeded", service.job(job).detail
    return job


@pytest.fixture(scope="module")
def measured(service: Service, tiny: str) -> str:
    """An experiment over an axis, all of whose cells are filled."""
    base = {
        "kind": "retrieval", "dataset": tiny, "scale": "small", "checkpoint": {"random_init": True},
        "resources": {"cpu_slots": 1},
    }  # fmt: skip
    body = {"kind": "experiment", "name": "windows of a clip", "base": base, "grid": {"n_clips": [1, 2]}}
    with Client(service.url, service.key) as lab:
        made = lab.submit(body)
        service.finished(*(uuid.UUID(member["id"]) for member in made.row["members"]))
    return made.id


@pytest.fixture
def held(service: Service, tiny: str) -> Iterator[uuid.UUID]:
    """A job that waits until somebody releases it."""
    job = service.submit(training(tiny, epochs=1) | {"name": "held back", "queue": {"hold": True}})
    yield job
    if service.job(job).state not in FINAL:
        service.cancel(job)


@pytest.mark.parametrize("role", Role)
def test_each_role_signs_in_goes_around_and_signs_out(visit: Start, held: uuid.UUID, role: Role) -> None:
    one = visit(None)
    sign_in(one, key(role), "/ui/jobs")
    page = one.page
    expect(page).to_have_url(re.compile("/ui/jobs$"))  # back to where one wanted to go
    page.get_by_role("link", name="Queue").click()
    expect(page.get_by_role("heading", name="Queue", level=1)).to_be_visible()
    page.locator("#aside").get_by_role("link", name="held back").first.click()
    expect(page.get_by_role("heading", name="held back")).to_be_visible()
    may = role.includes(Role.operator)  # it is another's
    expect(page.get_by_role("button", name="Release")).to_have_count(1 if may else 0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    page.go_back()
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_wrong_key_is_told_so_and_nothing_is_left_in_the_address(visit: Start) -> None:
    one = visit(None)
    page = one.open("/ui/sign-in")
    page.get_by_label("API key").fill("cmac_nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    assert "cmac_" not in page.url
    # The browser itself notes a 401 that the page has dealt with.
    assert len(one.troubles) == 2
    assert all("401" in trouble for trouble in one.troubles)
    one.troubles.clear()


def test_the_queue_shows_what_happens_without_being_asked_again(visit: Start, service: Service, tiny: str) -> None:
    one = visit()
    page = one.open("/ui/queue")
    page.evaluate("window.sameLoad = true")
    name = f"late {uuid.uuid4().hex[:6]}"
    job = service.submit(training(tiny, epochs=1) | {"name": name, "queue": {"hold": True}})
    row = page.locator("#aside tr", has_text=name)
    expect(row).to_contain_text("held since it was submitted")  # why it waits
    service.cancel(job)
    expect(page.locator("#ended tr", has_text=name)).to_contain_text("cancelled")
    expect(row).to_have_count(0)
    assert page.evaluate("window.sameLoad")


def test_a_job_is_followed_live_and_cancelled(visit: Start, service: Service, tiny: str) -> None:
    spec = training(tiny, epochs=3000) | {"name": "mine", "resources": {"cpu_slots": 1}}
    job = service.submit(spec)
    one = visit(Role.operator)
    page = one.open(f"/ui/jobs/{job}")
    page.evaluate("window.sameLoad = true")
    expect(page.locator("#standing .state")).to_have_text("running")
    drawn(page, 2)
    expect(page.locator("#log")).not_to_be_empty()
    drawn(page, 4)  # more come by themselves
    page.get_by_label("log y").check()
    page.get_by_label("Smoothing").fill("0.5")
    expect(page).to_have_url(re.compile(r"logy=true.*smooth=0\.5|smooth=0\.5.*logy=true"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#standing .state")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    assert page.evaluate("window.sameLoad")


def test_a_job_is_put_together_checked_and_submitted(visit: Start, service: Service, tiny: str) -> None:
    one = visit(Role.submitter)
    page = one.open("/ui/submit?kind=retrieval")
    page.get_by_label("dataset (needed)").fill("nothing-like-it")
    page.get_by_label("checkpoint (needed)").fill('{"random_init": true}')
    page.get_by_label("scale", exact=True).select_option(label="small")
    page.get_by_role("button", name="Check and estimate").click()
    field = page.locator(".field", has=page.get_by_label("dataset (needed)"))
    expect(field.locator(".trouble")).to_contain_text("nothing-like-it")  # said at the field
    one.troubles.clear()  # the browser notes the 422, which the page has dealt with
    page.get_by_label("dataset (needed)").fill(tiny)
    page.get_by_label("name", exact=True).fill("from the form")
    page.get_by_role("button", name="Check and estimate").click()
    expect(page.locator("#answer")).to_contain_text("It can run.")
    expect(page.locator("#answer")).to_contain_text("fits on")
    expect(page.get_by_label("cmac", exact=True)).to_contain_text("cmac submit -")
    page.get_by_label("JSON").fill(page.get_by_label("JSON").input_value().replace("from the form", "by hand"))
    page.get_by_label("JSON").blur()
    expect(page.get_by_label("name", exact=True)).to_have_value("by hand")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="by hand")).to_be_visible()
    service.cancel(uuid.UUID(page.url.rpartition("/")[2]))


# Every few milliseconds: where the sound is, and where the cursor is that was drawn, as a share of the clip.
WATCH = """async (seconds) => {
  const film = document.getElementById("film"), canvas = document.querySelector("canvas.sound");
  const rows = 5, seen = [];
  const paper = new OffscreenCanvas(canvas.width, rows).getContext("2d", { willReadFrequently: true });
  paper.imageSmoothingEnabled = false;
  const cursor = () => {
    paper.drawImage(canvas, 0, 0, canvas.width, rows);
    const { data } = paper.getImageData(0, 0, canvas.width, rows);
    const white = (x) => [...Array(rows).keys()].every((y) => {
      const at = 4 * (y * canvas.width + x);
      return data[at] === 255 && data[at + 1] === 255 && data[at + 2] === 255;
    });
    for (let x = 0; x < canvas.width; x++) if (white(x)) return x / canvas.width;
    return -9; // no cursor: far from any sound
  };
  const until = performance.now() + 1000 * seconds;
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    seen.push([film.currentTime, cursor() * film.duration, film.duration]);
  }
  return seen;
}"""


def apart_s(page: Page, seconds: float) -> float:
    """How far cursor and sound are apart in 95 of 100 looks while it plays; infinite when it hardly does."""
    seen = page.evaluate(WATCH, seconds)
    # A look at the turn from the end to the beginning says nothing.
    apart = sorted(abs(sound - drawn) for sound, drawn, end in seen if 0.06 < sound < end - 0.06)
    moved = max(sound for sound, _, _ in seen) - min(sound for sound, _, _ in seen)
    return apart[int(0.95 * len(apart))] if len(apart) > 10 and moved > 0.3 else math.inf


def test_a_clip_plays_with_its_sound_and_its_maps_in_step(visit: Start, attended: uuid.UUID) -> None:
    one = visit()
    page = one.open(f"/ui/jobs/{attended}/attention")
    page.get_by_label("Order").select_option(label="most confident prediction")
    page.get_by_role("button", name="Sort").click()
    expect(page).to_have_url(re.compile("sort=-confidence"))
    page.locator(".gallery a").first.click()
    expect(page.locator("[data-ready]")).to_be_visible()
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('film').currentTime > 0.05")
    # Where trainings take the processor, a browser without a graphics card draws late: any second will do.
    apart = next((found for _ in range(20) if (found := apart_s(page, 1.0)) <= 0.05), None)
    assert apart is not None, "sound and maps were never within 50 ms for a second"
    page.get_by_role("button", name="Pause").click()
    for place in ("0.25", "0.5", "0.75"):
        page.get_by_label("Time").fill(place)
        page.wait_for_function(f"() => Math.abs(film.currentTime / film.duration - {place}) < 0.02 && !film.seeking")
        sound, drawn, _ = page.evaluate(WATCH, 0.1)[-1]
        assert abs(sound - drawn) < 0.01
    page.get_by_label("Opacity").fill("0.2")
    expect(page).to_have_url(re.compile("opacity=0.2"))
    with page.expect_download() as saved:
        page.get_by_role("link", name="numbers (.npz)").first.click()
    assert saved.value.suggested_filename.endswith(".npz")


def test_two_jobs_are_compared_from_the_list(visit: Start, trained: uuid.UUID, probed: uuid.UUID) -> None:
    one = visit()
    page = one.open("/ui/jobs?state=succeeded")
    page.get_by_label("compare first training").first.check()
    page.get_by_label("compare first probe").first.check()
    page.get_by_role("button", name="Compare what is marked").click()
    expect(page.get_by_role("heading", name="Settings that differ")).to_be_visible()
    expect(page.locator("tr", has_text="optim.epochs")).to_contain_text("6")
    expect(page.locator("tr", has_text="accuracy").first).to_be_visible()
    expect(page.locator("figure.confusion[data-ready]")).to_be_visible()
    drawn(page, 2)


def test_the_results_of_a_job_open_with_who_is_taken_for_whom(visit: Start, probed: uuid.UUID) -> None:
    one = visit()
    page = one.open(f"/ui/jobs/{probed}")
    expect(page.locator("#results")).to_contain_text("accuracy")
    expect(page.locator("figure.confusion[data-ready] .main-svg").first).to_be_visible()
    cells = page.evaluate("document.querySelector('figure.confusion div').data[0].customdata.flat()")
    assert sum(cells) == int(page.locator("#results td.number").nth(2).inner_text())  # all clips of the test split
    expect(page.locator("figure.confusion li").or_(page.get_by_text("Nothing is confused")).first).to_be_visible()


def test_a_datasets_samples_play_and_its_histograms_are_drawn(visit: Start, tiny: str) -> None:
    one = visit()
    page = one.open("/ui/datasets")
    page.get_by_role("link", name=f"{tiny}@1").click()
    expect(page.locator("#spread[data-ready]")).to_be_visible()
    expect(page.locator("#spread .main-svg").first).to_be_visible()
    videos = page.locator(".gallery video")
    expect(videos).to_have_count(12)
    played = page.evaluate(
        """async () => {
          const video = document.querySelector(".gallery video");
          await video.play();
          await new Promise((resolve) => (video.ontimeupdate = () => video.currentTime > 0.3 && resolve()));
          return [video.videoWidth, video.webkitAudioDecodedByteCount];
        }"""
    )
    assert played[0] > 0
    assert played[1] > 0  # there is sound


def drawn(page: Page, points: int) -> None:
    """Wait until the loss is drawn, with so many points."""
    page.wait_for_function(
        "(points) => document.querySelector('#curves [data-title^=Loss]')?.data?.at(-1).x.length >= points", arg=points
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_legible_at_every_size_in_both_schemes(
    visit: Start, trained: uuid.UUID, measured: str, attended: uuid.UUID, size: str, scheme: str
) -> None:
    one = visit(Role.admin, viewport=SIZES[size], color_scheme=scheme)
    for name, path in pages(trained, measured, attended).items():
        page = one.open(path)
        if name == "job":
            drawn(page, 2)
        look(one, f"{name}-{size}-{scheme}")
    page = one.open(f"/ui/checkpoints?job={trained}")
    page.locator("main table a").first.click()
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    look(one, f"checkpoint-{size}-{scheme}")
    page = one.open(f"/ui/jobs/{attended}/attention")
    page.locator(".gallery a").first.click()
    expect(page.locator("[data-ready]")).to_be_visible()
    look(one, f"clip-{size}-{scheme}")
    nobody = visit(None, viewport=SIZES[size], color_scheme=scheme)
    page = nobody.open("/ui/sign-in")
    expect(page.get_by_label("API key")).to_be_focused()
    look(nobody, f"sign-in-{size}-{scheme}")


def look(one: Visit, name: str) -> None:
    """Keep a picture of it, and see that it is accessible and no wider than the window."""
    one.page.wait_for_timeout(300)  # plots are drawn
    SCREENSHOTS.mkdir(exist_ok=True)
    one.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    one.check_accessibility()
    assert one.fits(), f"{name} is wider than its window"


def pages(job: uuid.UUID, table: str, maps: uuid.UUID) -> dict[str, str]:
    """Name -> address of every page that there is."""
    return {
        "queue": "/ui/queue",
        "jobs": "/ui/jobs",
        "job": f"/ui/jobs/{job}",
        "experiments": "/ui/experiments",
        "experiment": f"/ui/experiments/{table}",
        "compare": f"/ui/compare?job={job}&job={maps}",
        "submit": f"/ui/submit?clone={job}",
        "attention": "/ui/attention",
        "gallery": f"/ui/jobs/{maps}/attention",
        "checkpoints": "/ui/checkpoints",
        "datasets": "/ui/datasets",
        "dataset": "/ui/datasets/tiny",
        "manual": "/manual/tutorial.html",
        "search": "/manual/search.html?q=idempotency+key",
    }


def test_the_manual_is_read_and_searched_by_anybody(visit: Start) -> None:
    one = visit(None)
    page = one.open("/ui/sign-in")
    page.get_by_role("link", name="Manual").click()
    expect(page.get_by_role("heading", name="The manual of cmac-lab", level=1)).to_be_visible()
    page.get_by_label("Search the manual").fill("fair share")
    page.keyboard.press("Enter")
    expect(page.locator("#searched")).to_contain_text("places")
    page.locator("#found").get_by_role("link", name="Concepts: The order of the line").click()
    expect(page).to_have_url(re.compile("/manual/concepts.html#the-order-of-the-line$"))
    expect(page.get_by_role("heading", name="The order of the line")).to_be_visible()


def test_the_keyboard_alone_is_enough(visit: Start, trained: uuid.UUID) -> None:
    one = visit()
    page = one.open("/ui/queue")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_label("Owner").focus()
    page.keyboard.type("nobody")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("owner=nobody"))
    expect(page.locator("#ended")).to_contain_text("Nothing has ended")
