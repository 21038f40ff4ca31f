"""Logs by the byte: whole lines, nothing lost between pages."""

from pathlib import Path

from api.logs import read_page, read_tail


def log(folder: Path, data: bytes) -> Path:
    file = folder / "log.txt"
    file.write_bytes(data)
    return file


def pages(file: Path, limit: int) -> list[str]:
    found, offset = [], 0
    while (page := read_page(file, offset, limit, growing=False)).next_offset > offset:
        found.append(page.text)
        offset = page.next_offset
    return found


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert read_page(tmp_path / "log.txt", 0, 100, growing=True) == ("", 0, 0)
    assert read_tail(tmp_path / "log.txt", 5, growing=True) == ("", 0, 0)


def test_pages_end_at_the_ends_of_lines_and_lose_nothing(tmp_path: Path) -> None:
    file = log(tmp_path, b"one\ntwo\nthree\nlast")
    assert pages(file, 9) == ["one\ntwo\n", "three\n", "last"]


def test_half_a_line_waits_while_the_log_grows(tmp_path: Path) -> None:
    file = log(tmp_path, b"one\nhal")
    assert read_page(file, 0, 100, growing=True) == ("one\n", 4, 7)
    assert read_page(file, 4, 100, growing=True) == ("", 4, 7)
    assert read_page(file, 4, 100, growing=False) == ("hal", 7, 7)


def test_a_line_longer_than_a_page_is_cut_between_characters(tmp_path: Path) -> None:
    file = log(tmp_path, "ää".encode() * 3)
    assert pages(file, 5) == ["ää", "ää", "ää"]


def test_of_a_progress_line_only_the_last_word_is_shown(tmp_path: Path) -> None:
    file = log(tmp_path, b" 1%\r 2%\r 3%\nwindows\r\nnext\r\n")
    assert read_page(file, 0, 100, growing=False).text == " 3%\nwindows\nnext\n"


def test_bytes_that_are_no_utf_8_are_shown_as_such(tmp_path: Path) -> None:
    assert read_page(log(tmp_path, b"a\xffb\n"), 0, 100, growing=False).text == "a\ufffdb\n"


def test_the_tail_is_the_last_whole_lines(tmp_path: Path) -> None:
    file = log(tmp_path, b"".join(b"line %d\n" % n for n in range(200_000)) + b"half")
    page = read_tail(file, 2, growing=True)
    assert page.text == "line 199998\nline 199999\n"
    assert page.next_offset == page.size - 4
    assert read_tail(file, 2, growing=False).text == "line 199999\nhalf"
    assert read_tail(file, 0, growing=False).text == ""
    assert len(read_tail(file, 10**6, growing=False).text) < 1 << 20


def test_behind_the_end_there_is_nothing(tmp_path: Path) -> None:
    assert read_page(log(tmp_path, b"one\n"), 50, 100, growing=False).text == ""
