"""Alert rules, dashboard and runbook: valid for Prometheus and Grafana, and about metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import yaml

from backbeat.gateway.console import table
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.people.visitor import Right
from tests.compose.deploy.files import MONITORING, ROOT, STAGING, alerts, dashboard, services

DOCUMENTED = set(
    re.findall(r"^\| `(backbeat_\w+)` \|", (ROOT / "docs" / "reference" / "metrics.md").read_text(), re.MULTILINE)
)
TEMPLATES = Path(table.__file__).parent / "templates"
PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
SOURCES = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]


def promtool(*words: object) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def metrics_of(expression: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bbackbeat_\w+", expression)}


def test_prometheus_takes_its_settings_and_the_rules():
    promtool("check", "config", MONITORING / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_when_all_is_well():
    promtool("test", "rules", MONITORING / "alerts.test.yml")


def test_a_case_is_written_for_each_alert():
    cases = (MONITORING / "alerts.test.yml").read_text()

    assert [rule["alert"] for rule in alerts() if rule["alert"] not in cases] == []


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_where_to_read_what_to_do(rule):
    runbook = (ROOT / "docs" / "how-to" / "runbook.md").read_text()
    sections = re.split(r"^### ", runbook, flags=re.MULTILINE)[1:]
    by_name = {section.splitlines()[0]: section for section in sections}

    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/how-to/runbook.md#{rule['alert'].lower()}"
    assert "**Means:**" in by_name[rule["alert"]]
    assert "**Do:**" in by_name[rule["alert"]]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_the_page_of_the_console_that_shows_it(rule):
    address = rule["annotations"].get("console")
    # Where no gateway answers there is no console either.
    assert (address is None) == (rule["alert"] == "BackbeatNoGateway")
    if address is not None:
        path, _, section = address.partition("#")
        path, _, query = path.partition("?")
        row, _ = table.find(path.removeprefix("ui/"))["GET"]
        assert path.startswith("ui/")
        assert (row.path, row.right) == (path.removeprefix("ui/"), Right.READ)
        assert not section or f'<section id="{section}">' in (TEMPLATES / f"{row.path}.html").read_text()
        assert not query or dict(parse_qsl(query))["status"] in dict(STATUS_CHOICES)


def test_the_runbook_has_no_section_of_an_alert_that_is_gone():
    sections = set(
        re.findall(r"^### (Backbeat\w+)$", (ROOT / "docs" / "how-to" / "runbook.md").read_text(), re.MULTILINE)
    )

    assert sections == {rule["alert"] for rule in alerts()}


def test_rules_and_dashboard_name_documented_metrics_only():
    named = {name for rule in alerts() for name in metrics_of(rule["expr"])}
    shown = {name for panel in PANELS for target in panel["targets"] for name in metrics_of(target["expr"])}

    assert named
    assert shown
    assert (named | shown) - DOCUMENTED == set()


def test_the_dashboard_asks_the_source_that_is_provisioned():
    (source,) = SOURCES
    sources = {panel["datasource"]["uid"] for panel in PANELS}
    sources |= {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}

    assert sources == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    assert all(panel["description"] for panel in PANELS)


def test_the_dashboards_panels_do_not_lie_on_each_other():
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)


def test_prometheus_asks_every_part_of_staging():
    settings = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in settings["scrape_configs"]}
    names = list(services(STAGING))

    assert targets["backbeat-engine"] == [f"{name}:9301" for name in names if name.startswith("engine")]
    assert targets["backbeat-gateway"] == [f"{name}:9292" for name in names if name.startswith("gateway")]
    assert targets["backbeat-projection"] == ["projection:9301"]
    jobs = {name for rule in alerts() for name in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert jobs <= set(targets)


def test_grafana_finds_its_files():
    volumes = services(STAGING)["grafana"]["volumes"] + services(STAGING)["prometheus"]["volumes"]
    here = [volume.partition(":")[0] for volume in volumes if volume.startswith(".")]
    provider = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/backbeat.yml").read_text())

    assert [path for path in here if not (STAGING.parent / path).exists()] == []
    assert f":{provider['providers'][0]['options']['path']}:ro" in " ".join(volumes)
