"""A browser signs in with a key and is somebody from then on; nobody else's page can use that."""

import uuid
from typing import Any

import pytest
from sqlalchemy import select, update

from store import database
from store.keys import Role
from store.settings import settings
from store.tables import ApiKey, Audit, BrowserSession
from tests.api.ui.conftest import Browser


def test_a_browser_is_led_from_the_root_through_sign_in_to_the_page_it_wanted(lab: Any, browse: Browser) -> None:
    http = browse(None)
    answer = http.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/ui/sign-in")
    wanted = http.get("/ui/queue?owner=ana&kind=probe")
    assert wanted.status_code == 303
    form = http.get(wanted.headers["location"])
    assert 'data-next="/ui/queue?owner=ana&amp;kind=probe"' in form.text
    assert http.post("/session", json={"key": lab.key(Role.viewer)}).status_code == 201
    assert http.get(wanted.headers["location"]).headers["location"] == "/ui/queue?owner=ana&kind=probe"


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example/", "/ui/\\evil", "/docs", "javascript:x"])
def test_a_link_to_sign_in_leads_to_no_other_place(browse: Browser, next: str) -> None:
    assert 'data-next="/ui/queue"' in browse(None).get("/ui/sign-in", params={"next": next}).text


def test_this_machines_people_read_where_the_first_key_is(browse: Browser) -> None:
    assert str(settings().root / "admin.key") in browse(None).get("/ui/sign-in").text


def test_the_cookie_is_out_of_reach_and_the_database_holds_its_hash_alone(lab: Any, browse: Browser) -> None:
    http = browse(None)
    key = lab.key(Role.submitter, user="ana")
    answer = http.post("/session", json={"key": f" {key}\n"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # there is no TLS here
    assert (answer.json()["user"], answer.json()["role"]) == ("ana", "submitter")
    token = next(iter(http.cookies.values()))
    assert token not in answer.text
    with database.sessions() as session:
        assert session.get(BrowserSession, token) is None
        noted = session.scalars(select(Audit).where(Audit.action == "session.begin").order_by(Audit.at.desc())).first()
        assert noted is not None
        assert noted.principal == "ana"
    assert http.get("/me").json()["user"] == "ana"  # the same JSON API


@pytest.mark.parametrize("key", ["", "x", "cmac_000000000000_" + "a" * 43])
def test_a_wrong_key_signs_nobody_in(browse: Browser, key: str) -> None:
    answer = browse(None).post("/session", json={"key": key})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "set-cookie" not in answer.headers


def test_a_session_ends_with_sign_out_with_its_key_and_with_its_time(lab: Any, browse: Browser) -> None:
    out, revoked, over = (browse(Role.viewer) for _ in range(3))
    assert out.delete("/session").status_code == 204
    prefix = revoked.get("/me").json()["key"]
    token = next(iter(over.cookies.values()))
    with database.sessions.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(revoked_at=ApiKey.created_at))
        key = over.get("/me").json()["key"]
        mine = select(ApiKey.id).where(ApiKey.prefix == key)
        ended = update(BrowserSession).where(BrowserSession.key_id.in_(mine))
        session.execute(ended.values(expires_at=BrowserSession.created_at))
    for http in (out, revoked, over):
        assert http.get("/me").status_code == 401
        assert http.get("/ui/queue").status_code == 303
    over.cookies.clear()
    over.cookies.set("cmac_other", token)
    assert over.get("/me").status_code == 401


def test_a_session_lasts_no_longer_than_its_key(lab: Any, browse: Browser) -> None:
    made = lab.http.post("/api-keys", json={"days": 1}).json()
    answer = browse(None).post("/session", json={"key": made["key"]}).json()
    assert answer["expires_at"] == made["expires_at"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X-CSRF-Token": ""}, "X-CSRF-Token"),
        ({"X-CSRF-Token": "0" * 64}, "X-CSRF-Token"),
        ({"Origin": "https://evil.example"}, "evil.example"),
        ({"Origin": "null"}, "null"),
    ],
)
def test_what_changes_something_needs_origin_and_csrf_token(
    lab: Any, browse: Browser, headers: dict[str, str], why: str
) -> None:
    http = browse(Role.admin)
    job = lab.submit()
    answer = http.post(f"/jobs/{job}/hold", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert why in answer.json()["detail"]
    assert lab.row(job).state == "queued"
    assert http.delete("/session", headers=headers).status_code == 403
    assert http.post(f"/jobs/{job}/hold").status_code == 202
    del http.headers["Origin"]
    assert "Origin" in http.post(f"/jobs/{job}/release").json()["detail"]


def test_another_sites_page_signs_nobody_in(lab: Any, browse: Browser) -> None:
    body = {"key": lab.key(Role.viewer)}
    assert browse(None).post("/session", json=body, headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_cookie_may_what_its_key_may(lab: Any, browse: Browser) -> None:
    job = lab.submit()
    assert browse(Role.viewer).post(f"/jobs/{job}/cancel").status_code == 403
    assert browse(Role.viewer, project=f"p-{uuid.uuid4().hex[:8]}").get(f"/jobs/{job}").status_code == 404
    assert browse(Role.operator).post(f"/jobs/{job}/cancel").status_code == 202


def test_pages_let_nothing_in_from_elsewhere(browse: Browser) -> None:
    for http, path in ((browse(None), "/ui/sign-in"), (browse(Role.viewer), "/ui/none")):
        answer = http.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert "//" not in answer.text.replace("<!doctype html>", "")


def test_a_browser_gets_errors_as_pages_and_programs_as_problems(lab: Any, browse: Browser) -> None:
    http = browse(Role.viewer)
    for path, status in (("/ui/none", 404), ("/nowhere", 404), ("/ui/queue?nonsense=1", 400)):
        answer = http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "To the first page" in answer.text
        assert lab.http.get(path).headers["content-type"] == "application/problem+json"
    assert http.get(f"/jobs/{uuid.uuid4()}").headers["content-type"] == "application/problem+json"
    with lab.client(None) as nobody:
        assert nobody.get("/ui/queue").status_code == 401


def test_static_files_are_kept_for_good_under_their_version_alone(browse: Browser) -> None:
    http = browse(None)
    text = http.get("/ui/sign-in").text
    style = text.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = http.get(style)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    old = http.get("/ui/static/old/style.css")
    assert (old.text, old.headers["cache-control"]) == (answer.text, "no-cache")
    plotly = http.get(style.replace("style.css", "plotly.min.js"))
    assert plotly.headers["content-encoding"] == "gzip"
    assert "plotly.js" in plotly.text[:200]
    assert http.get("/ui/static/x/..%2Frendering.py").status_code == 404
    plain = http.get(style, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
