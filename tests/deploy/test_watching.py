"""Alerts and dashboard ask for metrics that exist, in expressions that Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from actors.backend import Recount
from actors.cluster.placing import PlacementView
from actors.cluster.views import PlacedWorker, Use
from actors.gateway.metrics import GatewayMetrics
from actors.instance.cluster_metrics import ClusterCollector
from actors.instance.metrics import WorkerCollector
from actors.worker.wire import LaneStatus, WorkerStatus
from engine.placement.steward import Table

TOP = Path(__file__).resolve().parents[2]
ALERTS = TOP / "deploy/prometheus/alerts.yml"
DASHBOARD = TOP / "deploy/grafana/veredus.json"
FOREIGN = {"up"}
"""Metrics that Prometheus itself makes."""

PROMTOOL = shutil.which("promtool")


def status() -> WorkerStatus:
    return WorkerStatus(
        index=0,
        incarnation=1,
        pid=1,
        role="fused",
        partitions=4,
        now=10_000,
        next_due=None,
        quiet=False,
        waiting=0,
        in_hand=0,
        law={"default\0news": {"accepted": 3, "delivered": 2, "queued": 1}},
        facts={"quarantined_inputs": 1},
        lanes=[LaneStatus(1, "default/a.example", 4_000)],
        sent={"default/a.example": 2},
        connections={"default/a.example": 1},
        handed_over=5,
        unattempted=1,
        recount=Recount("done", agrees=True),
    )


def registry() -> CollectorRegistry:
    """Register everything that an instance tells, with a value in each."""
    made = CollectorRegistry()
    workers, cluster = WorkerCollector(), ClusterCollector()
    workers.look([status()])
    placed = PlacedWorker("w0", True, 4, 4, 0.0)
    view = PlacementView(Table(3, ["w0"] * 4), [placed], [])
    cluster.look([status()], view, [Use("default/a.example", 10, 20, 60, 600)], 1)
    made.register(workers)
    made.register(cluster)
    GatewayMetrics(made)
    return made


def told() -> set[str]:
    """Name everything that can be asked for: families, and the samples that they are made of."""
    found: set[str] = set()
    for family in registry().collect():
        found.add(family.name)
        found |= {sample.name for sample in family.samples}
        if family.type == "counter":
            found.add(f"{family.name}_total")
        if family.type == "histogram":
            found |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def asked(expression: str) -> set[str]:
    """Name the metrics of an expression: what begins like one of ours, or stands before a selector."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\bveredus_\w+", bare)) | set(re.findall(r"\b(\w+)\{", bare))


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_that_is_asked_for_exists(where: str, expression: str) -> None:
    missing = asked(expression) - told() - FOREIGN
    assert not missing, f"{where}: {missing}"
    assert asked(expression), "it asks for something"


def test_the_newer_metrics_have_the_values_that_were_seen() -> None:
    text = generate_latest(registry()).decode()
    for line in (
        'veredus_queue_oldest_seconds{class="transactional"} 6.0',
        'veredus_queue_oldest_seconds{class="bulk"} 0.0',
        'veredus_egress_accepted_total{worker="w0"} 2.0',
        'veredus_partitions_owned{worker="w0"} 4.0',
        "veredus_partitions_in_motion 0.0",
        "veredus_lease_use_ratio_max 0.5",
        "veredus_lease_connections 10.0",
    ):
        assert line in text


def test_no_label_has_an_address_or_a_domain() -> None:
    text = generate_latest(registry()).decode()
    assert "a.example" not in text


def test_labels_that_alerts_select_by_exist() -> None:
    values = {
        (name, value)
        for family in registry().collect()
        for sample in family.samples
        for name, value in sample.labels.items()
    }
    for where, expression in expressions():
        for name, value in re.findall(r'(\w+)="([^"]*)"', expression):
            assert name == "job" or (name, value) in values or name == "bucket", where


def test_every_alert_says_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            page, _, part = rule["annotations"]["runbook"].partition("#")
            headings = re.findall(r"^#+ (.*)$", (TOP / page).read_text(), re.MULTILINE)
            assert part in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


def test_the_dashboard_is_whole() -> None:
    made: dict[str, Any] = msgspec.json.decode(DASHBOARD.read_bytes())
    panels = made["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
        assert panel["targets"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) isn't installed")
def test_promtool_takes_rules_and_configuration() -> None:
    assert PROMTOOL is not None
    subprocess.run([PROMTOOL, "check", "rules", str(ALERTS)], check=True)
    config = str(ALERTS.with_name("prometheus.yml"))
    subprocess.run([PROMTOOL, "check", "config", "--syntax-only", config], check=True)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) isn't installed")
def test_promtool_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rules = [
        {"record": f"panel:{panel['id']}:{n}", "expr": target["expr"]}
        for panel in panels
        for n, target in enumerate(panel["targets"])
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    subprocess.run([PROMTOOL, "check", "rules", str(file)], check=True)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) isn't installed")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """A broken law pages at once; a class that is late pages after two minutes, not before."""
    assert PROMTOOL is not None
    story = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": 'veredus_conservation_holds{tenant="a",stream="s"}',
                        "values": "1 0 0 0 0",
                    },
                    {
                        "series": 'veredus_queue_oldest_seconds{class="transactional"}',
                        "values": "5 90 90 90 90",
                    },
                ],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertname="VeredusConservationBroken",alertstate="firing"}',
                        "eval_time": "1m",
                        "exp_samples": [
                            {
                                "labels": 'ALERTS{alertname="VeredusConservationBroken",alertstate="firing",'
                                'severity="page",stream="s",tenant="a"}',
                                "value": 1,
                            }
                        ],
                    },
                    {
                        "expr": 'count(ALERTS{alertname="VeredusTransactionalLate",alertstate="firing"}) or vector(0)',
                        "eval_time": "2m",
                        "exp_samples": [{"labels": "{}", "value": 0}],
                    },
                    {
                        "expr": 'count(ALERTS{alertname="VeredusTransactionalLate",alertstate="firing"})',
                        "eval_time": "4m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "story.yml"
    file.write_text(yaml.safe_dump(story))
    subprocess.run([PROMTOOL, "test", "rules", str(file)], check=True)
