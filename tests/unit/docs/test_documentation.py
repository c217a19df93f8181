"""The documents keep up with the code: settings, metrics, components, reasons, links."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from billing_api.db.migrate import MIGRATIONS
from billing_api.metrics import ConnectionMetrics
from billing_api.metrics import Metrics as BillingMetrics
from billing_api.settings import Settings as BillingSettings
from customer_operator.components.stack import COMPONENTS
from customer_operator.errors import (
    AdmissionRefused,
    ClusterError,
    CredentialsLost,
    HostnameTaken,
    InstanceInvalid,
    LicenseRejected,
    NamespaceTaken,
    PermissionMissing,
    UserError,
)
from customer_operator.metrics import Metrics as OperatorMetrics
from customer_operator.reconcile.retry import Retry
from customer_operator.scheduling.collector import QueueCollector
from customer_operator.scheduling.queue import WorkQueue
from customer_operator.settings import Settings as OperatorSettings
from customer_operator.status.compute import COMPONENT_STUCK
from customer_operator.status.record import StatusRecord
from exporters.mqtt.settings import VARIABLES as EXPORTER_VARIABLES
from tests.support.generate import make_instance
from tests.support.statuses import NOW

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading of operations.md, to the next heading of any level."""
    return re.split(r"^#+ ", OPERATIONS.partition(f"\n### {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def shown(default: Any) -> str:
    if default in (PydanticUndefined, "", None, ()) or default == {}:
        return "empty"
    if isinstance(default, dict):
        return f"`{','.join(f'{key}={value}' for key, value in default.items())}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{','.join(map(str, default))}`" if isinstance(default, tuple) else f"`{default}`"


def billing_defaults() -> dict[str, str]:
    return {name.upper(): shown(item.default) for name, item in BillingSettings.model_fields.items()}


def operator_defaults() -> dict[str, str]:
    settings = OperatorSettings.model_construct(identity="host name")
    defaults = {name.upper(): shown(getattr(settings, name)) for name in OperatorSettings.model_fields}
    return {**defaults, "IDENTITY": "host name"}


def metric_labels() -> dict[str, str]:
    """The labels of every metric, by its name, as the table has them."""
    registry = CollectorRegistry()
    OperatorMetrics(registry)
    BillingMetrics(registry)
    ConnectionMetrics(registry)
    registry.register(QueueCollector(WorkQueue(clock=lambda: 0.0)))
    declared = {
        name: tuple(getattr(collector, "_labelnames", ()))
        for collector, names in registry._collector_to_names.items()
        for name in names
    }
    found: dict[str, str] = {}
    for metric in registry.collect():
        # Of what is made for each scrape only the samples know the labels.
        labels = declared.get(metric.name) or dict.fromkeys(
            key for sample in metric.samples for key in sample.labels if key != "le"
        )
        found[f"{metric.name}_total" if metric.type == "counter" else metric.name] = ", ".join(labels)
    return found


def exporter_defaults() -> dict[str, str]:
    return {name: shown(default) for name, default, _ in EXPORTER_VARIABLES}


@pytest.mark.parametrize(
    ("title", "defaults"),
    [("Operator", operator_defaults), ("Billing API", billing_defaults), ("MQTT exporter", exporter_defaults)],
)
def test_every_setting_is_documented_with_its_default(title: str, defaults: Callable[[], dict[str, str]]) -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section(title), re.MULTILINE)) == defaults()


def test_every_metric_is_documented_with_its_labels() -> None:
    rows = re.findall(r"^\| `((?:billing|customer_operator)_\w+)` \| ?([^|]*?) ?\|", OPERATIONS, re.MULTILINE)
    assert dict(rows) == metric_labels()


def test_every_component_that_has_pods_is_documented_by_the_name_in_its_label() -> None:
    line = re.search(r"^Components are ([^;.]+)", OPERATIONS, re.MULTILINE)
    assert line is not None
    assert re.findall(r"`([\w-]+)`", line[1]) == [item.name for item in COMPONENTS if item.condition]


def test_every_reason_of_stalled_is_documented() -> None:
    """Those of the errors that end in the status, and the words that retry.py and compute.py have for the others."""
    errors = [
        InstanceInvalid("spec", "no"),
        LicenseRejected("no"),
        NamespaceTaken("customer-acme", None),
        HostnameTaken("iot.example.com"),
        CredentialsLost("customer-acme"),
        AdmissionRefused("no"),
        PermissionMissing("no"),
        ClusterError("no"),
    ]
    assert {type(error) for error in errors} >= set(UserError.__subclasses__())
    retry, previous = Retry(tries=1, delay=1.0), StatusRecord()
    failures = [retry.failure(item, instance=make_instance(), previous=previous, now=NOW) for item in errors]
    documented = re.findall(r"^\| `(\w+)` \|", section("Reasons of the condition Stalled"), re.MULTILINE)
    assert sorted(documented) == sorted({failure.reason for failure in failures} | {COMPONENT_STUCK})


def test_every_schema_that_can_be_upgraded_is_documented_with_what_its_replicas_do() -> None:
    *older, _newest = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py"))
    documented = re.findall(r"^\| `(\d+)` \|", section("Upgrading the billing API"), re.MULTILINE)
    assert documented == older


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [target.partition("#") for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text)]
    found = {(target, anchor): page.parent / target if target else page for target, _, anchor in links}

    assert [link for link, file in found.items() if not file.exists()] == []
    assert [link for link, file in found.items() if link[1] and link[1] not in headings(file)] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted(folder.glob("0*.md"))] == re.findall(r"\((\d{4}-[\w-]+\.md)\)", index)
