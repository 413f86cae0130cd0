"""Alert rules and dashboard: each expression names metrics that exist, each link a place that exists."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.measurements import CallMeasurements
from infrastructure.postgres.read_side.overview import MoneyState
from infrastructure.scrape import MetricsSnapshot
from infrastructure.service import Service
from infrastructure.web.metrics import DatabaseCollector, Metrics
from infrastructure.web.process_metrics import register_process
from projections.alarm_causes import CAUSES
from tests.infrastructure.web.conftest import offline_service

__all__ = ["offline_service"]

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "transfer-ledger.json"
NAME = re.compile(r"\b(?:ledger|process)_[a-z_]+\b")
LABELS = re.compile(r"\{[^}]*\}")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the name and the expression of each rule and of each target of a panel."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.fixture
async def metrics(offline_service: Service) -> set[str]:
    """Return the sample names of a ledger with a PSP."""
    database = DatabaseCollector("simulator")
    database.snapshot = MetricsSnapshot(up=True, money=())
    registry = CollectorRegistry()
    registry.register(database)
    async with HyperswitchGateway("snd_1", "http://127.0.0.1:9", 1) as psp:
        register_process(registry, replace(offline_service, psp=psp))
        own = text_string_to_metric_families((await Metrics("simulator").exposition()).decode())
        return {name for family in (*registry.collect(), *own) for name in samples_of(family)}


def samples_of(family: Metric) -> list[str]:
    """Return the names under which Prometheus stores a family's samples."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [family.name + suffix for suffix in suffixes.get(family.type, [""])]


async def test_expressions_name_metrics_that_exist(metrics: set[str]) -> None:
    unknown = {
        (where, name)
        for where, expression in expressions()
        for name in NAME.findall(LABELS.sub("", expression))
        if name not in metrics
    }
    assert not unknown
    assert len(metrics) > 40


def test_states_and_kinds_of_the_rules_exist() -> None:
    text = (PROMETHEUS / "alerts.yml").read_text()
    assert set(re.findall(r'state="(\w+)"', text)) <= set(MoneyState)
    assert set(re.findall(r'alarms_open{kind="(\w+)"', text)) <= CAUSES.keys()
    outcomes = {
        one for names in re.findall(r'outcome=~"([^"]+)"', text) for one in names.split("|")
    }
    assert outcomes <= set(CallMeasurements.OUTCOMES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alert_has_severity_summary_and_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    path, anchor = rule["annotations"]["runbook_url"].split("#")
    page = (ROOT / path).read_text()
    kinds = list(CAUSES) if "$labels.kind" in anchor else [""]
    for kind in kinds:
        wanted = anchor.replace("{{ $labels.kind }}", kind)
        assert f'<a id="{wanted}"></a>' in page, wanted


def test_each_alert_is_tested() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
    silent, firing = (
        {
            one["alertname"]
            for one in test["alert_rule_test"]
            if bool(one.get("exp_alerts")) is fires
        }
        for test, fires in zip(tests, (False, True), strict=True)
    )
    assert silent == firing == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_rules_and_their_tests() -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(
            ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
