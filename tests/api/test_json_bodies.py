"""What a body may be before anybody looks at its fields."""

from typing import Any

import pytest

from api.errors import MalformedJson
from api.json_bodies import parse


def refused(body: bytes, depth: int = 16) -> MalformedJson:
    with pytest.raises(MalformedJson) as caught:
        parse(body, depth)
    return caught.value


def test_json_is_read_as_it_stands() -> None:
    value: Any = {"a": [1, 2.5, None, True, "ä\\"], "b": {}}
    assert parse(b'{"a": [1, 2.5, null, true, "\\u00e4\\\\"], "b": {}}', 16) == value


def test_a_slip_of_the_pen_is_found_by_line_and_column() -> None:
    problem = refused(b'{"kind": "pack",\n  "seed": }')
    assert (problem.members["line"], problem.members["column"]) == (2, 11)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1,}', b"nonsense", b'"\\ud8', b"[1] 2"])
def test_what_is_no_json_says_where(body: bytes) -> None:
    assert refused(body).members["line"] == 1


def test_bytes_that_are_no_utf_8_are_found_by_line_and_column() -> None:
    problem = refused(b'{\n"a": "\xff"}')
    assert (problem.members["line"], problem.members["column"]) == (2, 7)


def test_a_key_that_stands_twice_is_ambiguous() -> None:
    assert "'seed' stands twice" in refused(b'{"seed": 1, "seed": 2}').detail


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_numbers_that_json_does_not_have_are_refused(number: bytes) -> None:
    refused(b'{"seed": ' + number + b"}")


def test_nesting_is_limited_and_brackets_in_strings_do_not_count() -> None:
    assert parse(b'["[[[[[[{{{{"]', 2) == ["[[[[[[{{{{"]
    assert parse(b'["\\"[[["]', 1) == ['"[[[']
    refused(b"[[[]]]", depth=2)
    refused(b"[" * 1_000_000)


@pytest.mark.parametrize("body", [b'{"a": "\\u0000"}', b'{"\\u0000": 1}', b'["\\ud800"]', b'[{"a": ["\\udfff"]}]'])
def test_characters_that_cannot_be_stored_are_refused(body: bytes) -> None:
    refused(body)


def test_an_empty_body_is_no_object() -> None:
    refused(b"  ")
