"""Dashboard and alerts ask for what the service tells, and name commands that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.orm import Session
from typer.main import get_command

from api.gauges import Gauges
from api.rates import StreamSlots
from client.commands.app import app
from store import figures

DOCKER = Path(__file__).parents[2] / "docker"
ALERTS: list[dict[str, Any]] = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((DOCKER / "grafana" / "dashboards" / "cmac.json").read_text())["panels"]
EXPRESSIONS = {alert["alert"]: alert["expr"] for alert in ALERTS}
EXPRESSIONS |= {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Name of a family, as Prometheus keeps it, and its labels."""
    found: dict[str, set[str]] = {}
    for name in ("_count", "_bucket", "_sum"):
        found[f"cmac_http_request_seconds{name}"] = {"route", "method", "status", "le"}
    return found | {"cmac_streams": set(), "cmac_database_up": set(), "cmac_disk_free_bytes": set()}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_reads_families_and_labels_that_exist(
    name: str, told: dict[str, set[str]], session: Session
) -> None:
    for figure in figures.read(session):
        told[figure.name + ("_total" if figure.counter else "")] = set(figure.labels)
    text = EXPRESSIONS[name]
    families = set(re.findall(r"\bcmac_\w+", text)) or {"up"}
    assert families <= set(told) | {"up"}, families - set(told)
    labels = {label for family in families for label in told.get(family, {"job"})}
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", text))
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
    assert matched | grouped <= labels


def test_the_families_that_no_scrape_of_the_database_tells_are_told(session: Session) -> None:
    text = Gauges(StreamSlots(1, 1)).text().decode()
    for name in ("cmac_streams", "cmac_database_up", "cmac_disk_free_bytes", "cmac_http_request_seconds"):
        assert f"# TYPE {name} " in text


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_what_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "look")
    assert set(alert["annotations"]) == {"summary", "action"}
    known = get_command(app)
    for command in re.findall(r"`cmac ([^`]+)`", alert["annotations"]["action"]):
        here: Any = known
        for word in command.split():
            if not hasattr(here, "commands") or word.startswith("-"):
                break
            assert word in here.commands, command
            here = here.commands[word]
        options = {option for parameter in here.params for option in parameter.opts}
        assert {word for word in command.split() if word.startswith("--")} <= options, command


def test_the_panels_do_not_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_monitoring_mounts_what_is_there() -> None:
    compose = yaml.safe_load((DOCKER / "monitoring.yml").read_text())
    mounts = [volume for service in compose["services"].values() for volume in service["volumes"]]
    for mount in mounts:
        source = mount.split(":")[0]
        assert source in compose["volumes"] or (DOCKER.parent / source).exists(), source
