"""Who may know whom, seen from outside: what a freshly started process has loaded."""

import subprocess
import sys

import pytest


def loaded_by(module: str) -> set[str]:
    """Top-level packages in sys.modules after importing one module in a new process."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["api.app", "worker.tasks", "worker.supervisor", "client", "store.jobs"])
def test_no_service_loads_torch(module: str) -> None:
    assert not loaded_by(module) & {"torch", "torchaudio", "av", "numpy"}


def test_the_client_loads_no_server() -> None:
    assert not loaded_by("client") & {"api", "worker", "store", "fastapi", "sqlalchemy", "celery", "redis"}


def test_the_core_loads_no_service() -> None:
    assert not loaded_by("cmac_core.jobs.pretrain") & {"api", "worker", "store", "client", "sqlalchemy", "celery"}
