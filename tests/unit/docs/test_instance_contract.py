"""docs/instance-contract.md says what the operator builds, and the reference images ask for nothing beyond it."""

import re
from pathlib import Path
from typing import Any

import pytest

from customer_operator.components import api, bootstrap, dashboard, mosquitto
from customer_operator.components.context import Context
from customer_operator.model.plans import PLANS, SIZES
from customer_operator.naming import Manifest
from reference_api import metrics, readings
from reference_api.settings import VARIABLES as API_VARIABLES
from reference_dashboard.settings import VARIABLES as DASHBOARD_VARIABLES
from tests.support.generate import make_context
from tests.support.pods import secret_values

CONTRACT = (Path(__file__).parents[3] / "docs" / "instance-contract.md").read_text(encoding="utf-8")
#: What the images set for themselves, which the contract names as theirs.
OWN = {"HOST", "STOP_DELAY"}

COMPONENTS = {"API": api, "Dashboard": dashboard}


def section(title: str) -> str:
    """The text below a heading, to the next heading of any level."""
    found = re.split(
        r"^#+ ", re.split(rf"^#+ {title}\n", CONTRACT, maxsplit=1, flags=re.MULTILINE)[1], flags=re.MULTILINE
    )
    return found[0]


def table(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def container(name: str) -> Manifest:
    """The container of a component that has everything."""
    return pod(name)["containers"][0]  # type: ignore[no-any-return]


def pod(name: str, context: Context | None = None) -> Manifest:
    objects = COMPONENTS[name].build(context or make_context())
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def amounts(values: dict[str, str]) -> str:
    return f"{values['cpu']} CPU, {values['memory']}"


def probe(given: dict[str, Any]) -> str:
    return f"`GET {given['httpGet']['path']}`" if "httpGet" in given else "the port opens"


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_variables_are_those_that_the_operator_sets(name: str) -> None:
    documented = [row[0].strip("`") for row in table(name)]

    assert documented == [item["name"] for item in container(name)["env"]]


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_variable_that_may_be_missing_is_said_to_be(name: str) -> None:
    optional = {
        item["name"]
        for item in container(name)["env"]
        if item.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
    }

    assert {row[0].strip("`") for row in table(name) if "may be missing" in row[1]} == optional


@pytest.mark.parametrize(
    ("name", "variables"), [("API", API_VARIABLES), ("Dashboard", DASHBOARD_VARIABLES)], ids=["API", "Dashboard"]
)
def test_the_reference_image_reads_nothing_else(name: str, variables: dict[str, str]) -> None:
    assert set(variables.values()) - OWN <= {row[0].strip("`") for row in table(name)}
    assert all(f"`{own}`" in section("What the reference images choose") for own in OWN)


@pytest.mark.parametrize(("column", "name"), [(1, "API"), (2, "Dashboard")])
def test_the_container_is_the_one_that_the_operator_builds(column: int, name: str) -> None:
    rows = {row[0]: row[column] for row in table("The container")}
    built, security = container(name), pod(name)["securityContext"]
    startup = built["startupProbe"]

    assert rows["Port"] == f"`{built['ports'][0]['containerPort']}`"
    assert rows["User and group"] == f"`{security['runAsUser']}`"
    assert security["runAsGroup"] == security["runAsUser"]
    assert rows["Startup probe"] == f"{probe(startup)}, {startup['periodSeconds'] * startup['failureThreshold']} s"
    assert rows["Readiness probe"] == probe(built["readinessProbe"])
    assert rows["Liveness probe"] == probe(built["livenessProbe"])
    assert (
        rows["Requests"]
        == amounts(built["resources"]["requests"])
        == amounts(SIZES[name.lower()].manifest()["requests"])
    )
    assert rows["Limits"] == amounts(built["resources"]["limits"])


@pytest.mark.parametrize("name", COMPONENTS)
def test_what_is_said_of_both_containers_holds(name: str) -> None:
    built, spec = container(name), pod(name)

    assert built["securityContext"]["readOnlyRootFilesystem"] is True
    assert [item["mountPath"] for item in built["volumeMounts"]] == ["/tmp"]
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    assert "command" not in built
    assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
    assert spec["terminationGracePeriodSeconds"] == 30
    assert {built[key]["timeoutSeconds"] for key in ("startupProbe", "readinessProbe", "livenessProbe")} == {5}


def test_the_names_that_are_granted_are_those_of_the_plans() -> None:
    documented = {(row[0].strip("`"), row[1]) for row in table("What is granted")}

    for plan in PLANS.values():
        granted = {(name, "features") for name in plan.features} | {(name, "limits") for name in plan.limits}
        assert granted == documented


def test_what_the_broker_is_told_of_tables_and_queues_is_what_is_documented() -> None:
    configuration = secret_values(mosquitto.build(make_context()), "mosquitto")["mosquitto.conf"]
    text = section("Devices and the broker") + section("No reading is lost")

    assert ("max_queued_messages 1000\n" in configuration, "1,000 messages" in text) == (True, True)
    assert ("autosave_interval 300\n" in configuration, "every 300 s" in text) == (True, True)
    assert ("persistent_client_expiration 30d\n" in configuration, "30 days" in text) == (True, True)
    assert ("auth_cache_seconds 30\n" in configuration, "jitter_seconds 3\n" in configuration) == (True, True)
    assert "33 seconds" in text
    assert re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE) == [
        f"{bootstrap.SCHEMA}.mqtt_users",
        f"{bootstrap.SCHEMA}.mqtt_acls",
    ]
    assert f"`{readings.DEVICE_TOPICS}` with access 7" in text
    users = (bootstrap.MQTT_API_USER, bootstrap.MQTT_EXPORTER_USER, bootstrap.MQTT_PROBE_USER)
    assert "`{}`, `{}` and `{}` are the broker's own users".format(*users) in text


def test_every_metric_of_the_reference_api_is_named() -> None:
    collected = metrics.Metrics().registry.collect()
    names = {f"{item.name}_total" if item.type == "counter" else item.name for item in collected}

    assert {name for name in names if f"`{name}" not in CONTRACT} == set()
