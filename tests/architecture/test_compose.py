"""The compose file describes what exists: no engine is needed to know that."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("migrate", "api", "worker")


def test_the_services_are_those_of_cmac_up() -> None:
    assert set(COMPOSE["services"]) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize("service", OURS)
def test_every_command_is_a_module_that_exists(service: str) -> None:
    python, flag, module = COMPOSE["services"][service]["command"]
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("service", OURS)
def test_every_image_copies_only_what_is_there(service: str) -> None:
    dockerfile = ROOT / COMPOSE["services"][service]["build"]["dockerfile"]
    for line in dockerfile.read_text().splitlines():
        if line.startswith("COPY"):
            assert all((ROOT / source).exists() for source in line.split()[1:-1]), line


def test_data_lie_in_named_volumes() -> None:
    named = set(COMPOSE["volumes"])
    mounts = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", [])]
    assert {"database", "broker", "lab"} == named == {mount.split(":")[0] for mount in mounts if mount[0] not in "./$"}


@pytest.mark.parametrize("service", ["postgres", "redis", "api"])
def test_what_others_wait_for_has_a_health_check(service: str) -> None:
    assert COMPOSE["services"][service]["healthcheck"]["test"]


def test_a_stopping_worker_has_time_to_save() -> None:
    worker = COMPOSE["services"]["worker"]
    assert worker["stop_grace_period"] == "180s"
    assert worker["init"] is True


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert text.count("_PASSWORD:?") == text.count("${POSTGRES_PASSWORD") + text.count("${REDIS_PASSWORD")
