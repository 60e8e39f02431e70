"""The alerts and the dashboard: their queries, and the sections of the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from tests.harness.metrics import sample_names

ROOT = Path(settings.BASE_DIR)
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "deploy/grafana/countonme.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]
KEYWORDS = {"by", "or"}
OTHER_METRICS = {  # of Prometheus itself, and of the node exporter
    "up",
    "node_systemd_unit_state",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
}


def metrics_in(query: str) -> set[str]:
    """Return the names of the metrics in a query: all names but those of functions, labels and keywords."""
    query = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", query)
    return set(re.findall(r"\b[a-zA-Z_]\w*\b(?! *\()", query)) - KEYWORDS


class TestQueries:
    @pytest.mark.parametrize(("name", "query"), QUERIES)
    def test_use_only_existing_metrics(self, name, query):
        names = metrics_in(query)

        assert names
        assert names <= sample_names() | OTHER_METRICS

    def test_with_a_metric_that_does_not_exist_are_noticed(self):
        query = 'sum by (le) (rate(countonme_x_bucket{route="a"}[5m])) / countonme_y > 0.5 or vector(0)'

        assert metrics_in(query) == {"countonme_x_bucket", "countonme_y"}

    @pytest.mark.skipif(not shutil.which("promtool"), reason="needs Prometheus")
    def test_are_valid(self, tmp_path):
        rules = [{"record": "x", "expr": query.replace("$__rate_interval", "5m")} for _, query in QUERIES]
        (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))

        check = subprocess.run(
            ["promtool", "check", "rules", "--lint=none", tmp_path / "rules.yml"], capture_output=True, text=True
        )

        assert check.returncode == 0, check.stderr


class TestTheRunbook:
    def test_has_a_section_for_each_alert(self):
        _, _, text = (ROOT / "docs/runbook.md").read_text().partition("\n## Alerts\n")
        sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", text, re.M | re.S))

        assert list(sections) == [rule["alert"] for rule in ALERTS]
        for name, section in sections.items():
            assert re.findall(r"^\*\*(.+?):\*\*\s+\S", section, re.M) == ["Meaning", "Look at", "Do"], name

    @pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
    def test_is_linked_by_each_alert(self, rule):
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


class TestTheDashboard:
    def test_can_be_imported_with_any_data_source(self):
        (variable,) = DASHBOARD["templating"]["list"]

        assert (variable["type"], variable["query"], variable["name"]) == ("datasource", "prometheus", "datasource")
        for panel in PANELS:
            for part in (panel, *panel["targets"]):
                assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert "id" not in DASHBOARD

    def test_has_panels_that_do_not_overlap(self):
        places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
        cells = [
            (place["x"] + column, place["y"] + line)
            for place in places
            for column in range(place["w"])
            for line in range(place["h"])
        ]

        assert len(cells) == len(set(cells))
        assert max(column for column, _ in cells) < 24
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
