"""The client against the real app: jobs are run by hand, as a supervisor would."""

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from client.__main__ import main
from client.api import Client
from tests.api.conftest import Lab, at_home, house, lab, serve

__all__ = ["at_home", "house", "lab", "serve"]


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Cmac = Callable[..., Said]


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    """An admin's; the key is the one that the first start left in the home."""
    with Client(lab.url) as client:
        yield client


@pytest.fixture
def cmac(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cmac:
    """Run the command as a person would, against the real service."""
    monkeypatch.setenv("CMAC_URL", lab.url)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["cmac", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return run
