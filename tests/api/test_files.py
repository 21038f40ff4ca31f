"""Artifacts: bytes that never change, whole or in part."""

import hashlib
from typing import Any

import pytest

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def url(lab: Any, house: Any) -> str:
    """A film that a job left."""
    with house.entered():
        job = lab.submit()
        lease = lab.start(job)
        lab.tell(lease, lab.artifact(job, "späte map.mp4", DATA, "video/mp4"))
        lab.tell(lease, lab.artifact(job, "page.html", b"<script>", "text/html"))
        lab.succeed(lease)
    return f"/artifacts/{hashlib.sha256(DATA).hexdigest()}"


def test_the_whole_file_may_be_kept_for_ever(lab: Any, url: str) -> None:
    answer = lab.http.get(url)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["etag"] == f'"{url.rpartition("/")[2]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''sp%C3%A4te%20map.mp4"
    assert answer.headers["content-length"] == str(len(DATA))


def test_who_has_it_gets_nothing_again(lab: Any, url: str) -> None:
    tag = lab.http.get(url).headers["etag"]
    answer = lab.http.get(url, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_gives_the_headers_alone(lab: Any, url: str) -> None:
    answer = lab.http.head(url)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(DATA)))


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=10200-", 10200, 10240), ("bytes=-5", 10235, 10240),
     ("bytes=10000-99999", 10000, 10240), ("bytes=-99999", 0, 10240)],
)  # fmt: skip
def test_a_part_is_that_part(lab: Any, url: str, wanted: str, start: int, end: int) -> None:
    answer = lab.http.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert lab.http.head(url, headers={"Range": wanted}).headers["content-length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_a_part_outside_of_the_file_is_refused(lab: Any, url: str, wanted: str) -> None:
    answer = lab.http.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.json()["code"], answer.json()["size"]) == (416, "range_not_satisfiable", 10240)
    assert answer.headers["content-range"] == "bytes */10240"


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes"])
def test_a_range_that_makes_no_sense_means_the_whole_file(lab: Any, url: str, wanted: str) -> None:
    assert lab.http.get(url, headers={"Range": wanted}).content == DATA


def test_a_part_of_another_version_is_never_mixed_in(lab: Any, url: str) -> None:
    answer = lab.http.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


def test_what_a_browser_might_run_is_offered_for_saving(lab: Any, url: str) -> None:
    answer = lab.http.get(f"/artifacts/{hashlib.sha256(b'<script>').hexdigest()}")
    assert answer.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize("name", ["0" * 64, "..%2F..%2Fetc%2Fpasswd", "0" * 63, "A" * 64])
def test_any_other_name_finds_nothing(lab: Any, name: str) -> None:
    answer = lab.http.get(f"/artifacts/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
