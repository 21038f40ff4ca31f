"""What holds for every command: --json, documented exit codes, tables that fit, words that a shell completes."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from client import __main__, tables
from client.commands.app import app
from client.errors import ClientError
from cmac_core.events import Metrics, Progress
from tests.api.conftest import Lab
from tests.client.conftest import Cmac


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """`job list` and the like, with what typer made of them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


TREE = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", TREE)
def test_a_command_takes_json(name: str) -> None:
    assert "--json" in {option for parameter in TREE[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", TREE)
def test_a_command_and_its_options_say_what_they_do(name: str) -> None:
    assert TREE[name].help
    flags = ("--label", "--markdown")  # their names and values say it
    silent = [one.opts[-1] for one in TREE[name].params if one.opts[0].startswith("--") and not one.help]
    assert [option for option in silent if option not in flags] == []


def test_reading_commands_print_one_json_document_and_nothing_else(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, Metrics(step=0, values={"loss": 1.0}), Progress(phase="extract", step=1, of=2))
    (lab.folder(job) / "log.txt").write_text("a line\n")
    lab.succeed(lease)
    about_a_job = ("show", "why", "wait", "attempts", "logs", "events", "metrics", "results")
    plain = ("jobs", "queue", "nodes", "values", "experiments", "audit", "whoami", "version", "dataset list",
             "root list", "checkpoint list", "quota list", "key list", "project list", "user list",
             "webhook list")  # fmt: skip
    for command in (*([name, job] for name in about_a_job), *(name.split() for name in plain)):
        said = cmac(*command, "--json")
        assert (said.code, said.err) == (0, ""), (command, said)
        json.loads(said.out)


def test_help_tells_the_exit_codes_that_errors_have() -> None:
    told = {int(code) for code in re.findall(r"(\d+) ", app.info.epilog or "")}

    def kinds(kind: type[ClientError]) -> Iterator[type[ClientError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from kinds(one)

    assert {kind.exit_code for kind in kinds(ClientError)} | {0, __main__.FAULT, 130} == told


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal_and_break_no_id(cmac: Cmac, lab: Lab, width: int) -> None:
    long = "a training with quite a long name that somebody gave it"
    job = lab.submit(name=long)
    lab.tell(lab.start(job), Progress(phase="extract", step=120, of=500, rate=49.1, unit="clips", eta_s=75))
    rows = [lab.http.get(f"/jobs/{job}").json()]
    out = StringIO()
    Console(file=out, width=width).print(tables.jobs_table(rows))
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    assert max(map(len, lines)) <= width
    shown = next(line for line in lines if job[:8] in line)
    assert "running" in shown
    assert "retrieval" in shown
    lab.http.post(f"/jobs/{job}/cancel", params={"force": True})


def completed(lab_url: str, words: str, home: Path) -> list[str]:
    """What bash would offer behind these words, and how it is asked."""
    line = f"cmac {words}"
    environment = {
        **os.environ, "_CMAC_COMPLETE": "complete_bash", "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "CMAC_URL": lab_url, "CMAC_HOME": str(home),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'cmac'; from client.__main__ import main; main()"],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.system
def test_a_shell_completes_commands_ids_names_and_choices(lab: Lab) -> None:
    home = Path(os.environ["CMAC_HOME"])
    job = lab.submit()
    assert job[:8] in completed(lab.url, f"show {job[:4]}", home)
    assert completed(lab.url, "dataset show mov", home) == ["moving@1"]
    assert completed(lab.url, "submit --recipe table-", home) == [f"table-{n}" for n in range(1, 7)]
    assert completed(lab.url, "submit --preset pro", home) == ["projected"]
    assert completed(lab.url, "jobs --state su", home) == ["succeeded"]
    assert completed(lab.url, "atten", home) == ["attention"]


def test_completion_is_silent_and_quick_when_no_service_answers(tmp_path: Path) -> None:
    began = time.monotonic()
    assert completed("http://127.0.0.1:9", "show a", tmp_path) == []
    assert time.monotonic() - began < 10


def test_completion_can_be_installed(cmac: Cmac, monkeypatch: pytest.MonkeyPatch) -> None:
    said = cmac("--help")
    assert "--install-completion" in said.out
    assert "--show-completion" in said.out
