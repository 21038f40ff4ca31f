"""What the documents say exists: commands and their options, targets, files, specs, and code that compiles."""

import ast
import json
import re
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from client.commands.app import app
from cmac_core.specs import JOB_SPEC, Experiment
from tests.docs import reading
from tests.docs.reading import ROOT, Block

CMAC = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FOLDERS = ("api", "worker", "store", "client", "cmac_core", "migrations", "benchmarks", "chaos", "afternoon", "docs",
           "docker", "tests", "requirements")  # fmt: skip
LIVE = [path for path in reading.ORDER if path.name != "DECISIONS.md"]
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def commands() -> list[tuple[str, list[str]]]:
    """Where, and the words, of all simple commands in shell blocks, run or not."""
    return [
        (block.where, command)
        for block in reading.every("sh")
        for line in reading.lines(block.code)
        for command in reading.words(line)
    ]


def check_options(arguments: list[str]) -> None:
    """Raises TyperException or KeyError where there is no such command or option, or where it wants more."""
    command, rest = command_of(arguments)
    command.make_context("cmac", rest)


def command_of(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that these words lead to, and the words behind it. Raises KeyError."""
    command: Any = CMAC
    rest = list(arguments)
    while hasattr(command, "commands") and not (rest and rest[0].startswith("-")):
        command = command.commands[rest.pop(0)]
    return command, rest


def spans(document: Path) -> list[str]:
    """Code within sentences."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return INLINE.findall(text)


def named(value: Any) -> Any:
    """A spec whose references by name stand for some job."""
    if isinstance(value, dict):
        return {key: str(uuid.UUID(int=1)) if key == "job" and str(inner).startswith(("$", "...")) else named(inner)
                for key, inner in value.items()}  # fmt: skip
    return [named(inner) for inner in value] if isinstance(value, list) else value


def identity(block: Block) -> str:
    return block.where


def test_every_block_of_commands_says_that_it_is_one() -> None:
    bare = [block.where for block in reading.every("") if reading.looks_like_shell(block.code)]
    assert bare == []


def test_what_no_test_runs_is_listed() -> None:
    assert reading.LIST.read_text(encoding="utf-8") == reading.listing(), "python -m tests.docs.reading writes it anew"


def test_every_cmac_line_names_commands_and_options_that_exist() -> None:
    wrong = []
    found = [(where, words[1:]) for where, words in commands() if words[0].rsplit("/", 1)[-1] == "cmac"]
    assert len(found) > 40
    for where, arguments in found:
        try:
            check_options(arguments)
        except (TyperException, KeyError, IndexError) as error:
            wrong.append(f"{where}: cmac {' '.join(arguments)}: {error}")
    assert wrong == []


def test_commands_within_sentences_exist_too() -> None:
    wrong = []
    for document in LIVE:
        for span in spans(document):
            first, *rest = span.split()
            if first != "cmac" or "|" in span or not rest or not rest[0].islower():
                continue
            try:
                command, words = command_of([word.rstrip(",") for word in rest])
            except (KeyError, IndexError):
                wrong.append(f"{document.name}: {span}")
                continue
            known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
            if not {word.split("=")[0] for word in words if word.startswith("-")} <= known:
                wrong.append(f"{document.name}: {span}")
    assert wrong == []


def test_every_target_exists() -> None:
    typed = {(where, words[1]) for where, words in commands() if words[0] == "make" and len(words) > 1}
    typed |= {(document.name, word) for document in LIVE for span in spans(document)
              if span.startswith("make ") for word in span.split()[1:2]}  # fmt: skip
    assert typed
    assert {(where, target) for where, target in typed if "=" not in target and target not in TARGETS} == set()


def test_every_module_that_is_run_exists() -> None:
    modules = {words[2] for _, words in commands() if words[0].startswith("python") and words[1:2] == ["-m"]}
    modules |= {span.split()[2] for document in LIVE for span in spans(document) if span.startswith("python -m ")}
    assert modules
    assert {name for name in modules if find_spec(name) is None} == set()


def test_every_file_that_is_named_exists() -> None:
    wrong = []
    for document in LIVE:
        for span in spans(document):
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span) and span.split("/")[0] in FOLDERS:
                wrong += [f"{document.name}: {span}"] if not (ROOT / span).exists() else []
    assert wrong == []


@pytest.mark.parametrize("block", reading.every("json"), ids=identity)
def test_every_json_block_is_a_spec(block: Block) -> None:
    body = json.loads(block.code)
    for spec in body if isinstance(body, list) else [body]:
        if spec.get("kind") == "experiment":
            Experiment.model_validate(named(spec))
        else:
            JOB_SPEC.validate_python(named(spec))


@pytest.mark.parametrize("block", reading.every("python"), ids=identity)
def test_every_python_block_compiles(block: Block) -> None:
    ast.parse(block.code)
