"""The documents keep up with the code: settings, metrics, links."""

import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from billing_api.metrics import Metrics as BillingMetrics
from billing_api.settings import Settings as BillingSettings
from customer_operator.metrics import Metrics as OperatorMetrics
from customer_operator.scheduling.collector import QueueCollector
from customer_operator.scheduling.queue import WorkQueue
from customer_operator.settings import Settings as OperatorSettings

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading of operations.md, to the next heading of any level."""
    return re.split(r"^#+ ", OPERATIONS.partition(f"\n### {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def shown(default: Any) -> str:
    if default in (MISSING, "", None, ()) or default == {}:
        return "empty"
    if isinstance(default, dict):
        return f"`{','.join(f'{key}={value}' for key, value in default.items())}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{','.join(map(str, default))}`" if isinstance(default, tuple) else f"`{default}`"


def billing_defaults() -> dict[str, str]:
    return {item.name.upper(): shown(item.default) for item in fields(BillingSettings)}


def operator_defaults() -> dict[str, str]:
    settings = OperatorSettings.model_construct(identity="host name")
    defaults = {name.upper(): shown(getattr(settings, name)) for name in OperatorSettings.model_fields}
    return {**defaults, "IDENTITY": "host name"}


def metric_names() -> set[str]:
    registry = CollectorRegistry()
    OperatorMetrics(registry)
    BillingMetrics(registry)
    registry.register(QueueCollector(WorkQueue(clock=lambda: 0.0)))
    return {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in registry.collect()}


@pytest.mark.parametrize(("title", "defaults"), [("Operator", operator_defaults), ("Billing API", billing_defaults)])
def test_every_setting_is_documented_with_its_default(title: str, defaults: Callable[[], dict[str, str]]) -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section(title), re.MULTILINE)) == defaults()


def test_every_metric_is_documented() -> None:
    assert set(re.findall(r"^\| `((?:billing|customer_operator)_\w+)` \|", OPERATIONS, re.MULTILINE)) == metric_names()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text)]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted(folder.glob("0*.md"))] == re.findall(r"\((\d{4}-[\w-]+\.md)\)", index)
