"""A wrong spec is explained field by field."""

from typing import Any

import pytest
from pydantic import ValidationError

from cmac_core.specs import JOB_SPEC
from cmac_core.specs.problems import FieldProblem, field_problems


def problems(body: object) -> list[FieldProblem]:
    with pytest.raises(ValidationError) as refused:
        JOB_SPEC.validate_python(body)
    return field_problems(refused.value)


def only(body: object) -> FieldProblem:
    (problem,) = problems(body)
    return problem


@pytest.mark.parametrize(
    ("body", "pointer", "guess"),
    [
        ({"kind": "pretrain", "dataset": "x", "optim": {"lrr": 1}}, "/optim/lrr", "lr"),
        ({"kind": "pretrain", "dataset": "x", "optin": {}}, "/optin", "optim"),
        ({"kind": "pretrain", "dataset": "x", "loss": {"ramp": {"strat": 1}}}, "/loss/ramp/strat", "start"),
        ({"kind": "pretrain", "dataset": "x", "audio": {"specaug": {"FF": 1}}}, "/audio/specaug/FF", "F"),
    ],
)
def test_an_unknown_field_comes_with_a_guess(body: Any, pointer: str, guess: str) -> None:
    problem = only(body)
    assert (problem.pointer, problem.message, problem.hint) == (pointer, "no such field", f"did you mean {guess}?")


def test_a_word_that_is_none_of_those_allowed_comes_with_a_guess() -> None:
    problem = only({"kind": "pack", "dataset": "x", "source": {}, "layout": "hmbd51"})
    assert (problem.pointer, problem.hint) == ("/layout", "did you mean hmdb51?")
    assert only({"kind": "pack", "dataset": "x", "source": {}, "layout": ""}).hint is None


def test_an_unknown_kind_comes_with_the_kinds_and_a_guess() -> None:
    problem = only({"kind": "pretrian"})
    assert problem.pointer == "/kind"
    assert "pretrain, retrieval" in problem.message
    assert problem.hint == "did you mean pretrain?"


def test_the_core_says_who_runs_experiments() -> None:
    problem = only({"kind": "experiment", "recipe": "table-1"})
    assert problem.pointer == "/kind"
    assert problem.hint == "an experiment is expanded into jobs by the service: cmac submit, or POST /jobs"


def test_all_wrong_fields_are_named_at_once() -> None:
    body = {"kind": "pretrain", "optim": {"lr": -1, "batch": 0}, "moco": {"K": "many"}}
    assert {problem.pointer for problem in problems(body)} == {"/dataset", "/optim/lr", "/optim/batch", "/moco/K"}


def test_of_several_forms_only_the_meant_one_is_explained() -> None:
    problem = only({"kind": "pack", "dataset": "x", "source": {"generate": "sounding-objects", "gradee": "easy"}})
    assert (problem.pointer, problem.hint) == ("/source/gradee", "did you mean grade?")


def test_a_checkpoint_without_a_known_key_lists_the_forms() -> None:
    (problem,) = problems({"kind": "retrieval", "dataset": "x", "checkpoint": {"jobb": "x"}})
    assert problem.pointer == "/checkpoint"
    assert "job" in problem.message
    assert "random_init" in problem.message


@pytest.mark.parametrize("body", [None, 3, "pretrain", [], {"kind": None}, {"kind": ["pretrain"]}])
def test_what_is_no_spec_at_all_is_said_to_be_none(body: object) -> None:
    assert problems(body)[0].pointer in ("", "/kind")


def test_keys_with_slashes_make_legal_pointers() -> None:
    assert only({"kind": "pretrain", "dataset": "x", "a/b~c": 1}).pointer == "/a~1b~0c"
