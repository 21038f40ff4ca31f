"""Rules that the source itself must keep."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "worker", "store", "client", "cmac_core", "migrations", "benchmarks", "chaos", "afternoon")


@cache
def all_calls() -> list[tuple[Path, str, ast.Call]]:
    """Every call in the source and what is called."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    nodes = ((path, node) for path in files for node in ast.walk(ast.parse(path.read_text())))
    return [(path, ast.unparse(node.func), node) for path, node in nodes if isinstance(node, ast.Call)]


def calls(name: str) -> Iterator[tuple[Path, ast.Call]]:
    """All calls of a function or method of that name."""
    return ((path, node) for path, called, node in all_calls() if called.endswith(name))


def keyword(call: ast.Call, name: str) -> object:
    """A keyword argument's literal value; None when absent."""
    value = next((item.value for item in call.keywords if item.arg == name), None)
    return ast.literal_eval(value) if isinstance(value, ast.Constant) else None


def test_checkpoints_are_read_as_tensors_and_nothing_else() -> None:
    found = list(calls("torch.load"))
    assert found
    assert [str(path) for path, call in found if keyword(call, "weights_only") is not True] == []


def test_arrays_are_read_without_pickle() -> None:
    assert [str(path) for path, call in calls("np.load") if keyword(call, "allow_pickle") is not False] == []


def test_no_command_goes_through_a_shell() -> None:
    shells = [call for name in ("run", "Popen", "check_call") for call in calls(name) if keyword(call[1], "shell")]
    assert [str(path) for path, _ in shells] == []


@pytest.mark.parametrize("name", ["dev.txt", "api.txt", "worker.txt", "uv.txt"])
def test_a_lock_file_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert text.count("--hash=sha256:") >= text.count("==") > 0
    assert "://" not in text


def test_the_api_image_has_no_torch() -> None:
    assert "\ntorch" not in (ROOT / "requirements" / "api.txt").read_text()


def test_files_are_named_for_what_they_hold() -> None:
    vague = {"utils", "helpers", "common", "manager", "misc", "handler"}
    assert [str(p) for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if p.stem in vague] == []
