"""What whoever runs the machines relies on, on the whole service."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.system.conftest import Service

pytestmark = pytest.mark.system


def cmac(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"CMAC_HOME": str(home)}
    command = [sys.executable, "-m", "client", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_a_whole_service_is_ready_and_nothing_troubles_it(service: Service) -> None:
    def readiness() -> object:
        request = urllib.request.Request(f"{service.url}/readyz", headers={"Authorization": f"Bearer {service.key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    service.until(lambda: dict(readiness())["status"] == "ready", 20)  # type: ignore[call-overload]


def test_a_backup_of_the_running_service_comes_back_in_another_home(
    service: Service, tiny: str, tmp_path: Path
) -> None:
    file = tmp_path / "lab.dump"
    done = cmac("backup", str(file), home=service.home)
    assert done.returncode == 0, done.stderr
    assert "lab.dump (" in done.stdout
    with tempfile.TemporaryDirectory(prefix="cmac-restored-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # root's PostgreSQL is another user
        try:
            back = cmac("restore", str(file), home=home)
            assert back.returncode == 0, back.stderr
            again = cmac("restore", str(file), home=home)
            assert again.returncode == 4, again.stderr
            assert "not empty" in again.stderr
        finally:
            cmac("down", home=home)
    refused = cmac("restore", str(file), home=service.home)
    assert refused.returncode == 2
    assert "cmac down" in refused.stderr
