"""An instance that cannot be as its author wants says what is in the way: pod and reason, host, keys."""

import base64
from pathlib import Path

import pytest

from customer_operator import naming
from customer_operator.licensing.token import audience
from tests.support import licenses
from tests.support.kubernetes import Condition, Kubernetes, condition_of, in_phase, is_ready
from tests.support.operators import OperatorProcess, Operators
from tests.support.tenants import Tenants

HOST = "iot.customer.example"
RESYNC = 4  # seconds


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JWKS file of the module's own, for it is rotated."""
    return licenses.write_jwks(tmp_path_factory.mktemp("keys") / "jwks.json", licenses.jwk())


@pytest.fixture(scope="module")
def frontdoor(operators: Operators, keys: Path) -> OperatorProcess:
    """An operator on a platform with a domain and a front door for MQTT."""
    operators.stop()
    settings = {
        "FRONT_DOOR": "true",
        "ROUTE_PROBE": "false",
        "LICENSE_JWKS_PATH": str(keys),
        "RESYNC_INTERVAL": str(RESYNC),
    }
    return operators.start("frontdoor", BASE_DOMAIN="iot.example.com", **settings)


@pytest.fixture(scope="module")
def orders(tenants: Tenants, frontdoor: OperatorProcess) -> dict[str, str]:
    """One instance for each thing that can be in the way, but a front door in none."""
    assert frontdoor.runs
    port = {"exposure": "NodePort"}
    names = {
        "unschedulable": tenants.order(mqtt=port, storage={"postgres": {"storageClassName": "does-not-exist"}}),
        "older": tenants.order(mqtt=port, hostname=HOST),
    }
    names["licensed"] = tenants.name()
    key = licenses.sign(aud=audience(names["licensed"]), plan="starter")
    tenants.create(names["licensed"], mqtt=port, license={"key": key})
    return names


def says(kind: str, *words: str) -> Condition:
    """Return the condition that an instance's condition is False, and its message has these words."""

    def holds(live: object) -> bool:
        found = condition_of(live, kind)  # type: ignore[arg-type]
        return found.get("status") == "False" and all(word in found["message"] for word in words)

    return holds


def test_a_stateful_set_whose_pod_finds_no_place_names_pod_and_reason(api: Kubernetes, orders: dict[str, str]) -> None:
    live = api.wait_for(naming.KIND, orders["unschedulable"], says("PostgresReady", "pod postgres-0: Unschedulable: "))
    assert "PersistentVolumeClaim" in condition_of(live, "PostgresReady")["message"]
    stages = {stage["name"]: stage for stage in live["status"]["stages"]}
    assert "pod postgres-0" in stages["postgres"]["message"]


def test_a_hostname_belongs_to_the_older_instance_until_it_gives_it_up(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    older = tenants.ready(orders["older"])
    younger = tenants.order(mqtt={"exposure": "NodePort"}, hostname=HOST)
    live = api.wait_for(naming.KIND, younger, in_phase("Failed"))
    stalled = condition_of(live, "Stalled")
    assert stalled["reason"] == "HostnameTaken"
    assert older not in stalled["message"]
    assert f"cust-{older}" not in stalled["message"]

    tenants.change(older, hostname=None)
    live = api.wait_for(naming.KIND, younger, is_ready)
    assert live["status"]["urls"]["dashboard"] == f"https://{HOST}"


def test_new_license_keys_reach_the_tenants_api_while_the_same_operator_leads(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str], keys: Path
) -> None:
    name = tenants.ready(orders["licensed"])
    licenses.write_jwks(keys, licenses.jwk(), licenses.jwk("k2"))

    def has_both(secret: dict[str, dict[str, str]] | None) -> bool:
        document = base64.b64decode((secret or {})["data"]["IOTISTIC_LICENSE_JWKS"]).decode()
        return '"k1"' in document and '"k2"' in document

    api.wait_for("Secret", "license", has_both, namespace=naming.namespace_of(name))
    tenants.change(name, license={"key": licenses.sign("k2", aud=audience(name), plan="professional")})
    live = api.wait_for(naming.KIND, name, lambda live: (live or {})["status"]["plan"] == "professional")
    assert live["status"]["license"]["keyId"] == "k2"
