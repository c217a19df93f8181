"""What is secret, under the operator's own rights: lost with its data only, and signed by the authority of the day."""

import base64
import time
from datetime import UTC, datetime

import pytest

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from customer_operator.credentials.encoding import decode, encode
from customer_operator.naming import Manifest
from tests.support.audit import AuditLog
from tests.support.kubernetes import Condition, Kubernetes, condition_of, in_phase, is_ready
from tests.support.operators import Operators
from tests.support.tenants import Tenants


@pytest.fixture(scope="module")
def names(operators: Operators, tenants: Tenants) -> list[str]:
    """Two running instances, under an operator that looks again every few seconds."""
    operators.stop()
    operators.start("resyncing", RESYNC_INTERVAL="3")
    return [tenants.ready(name) for name in (tenants.order(), tenants.order())]


def trusts(pem: str) -> Condition:
    """Return the condition that an instance's devices are told to trust this authority."""
    return lambda live: live is not None and decode(live["data"]["ca.crt"]) == pem


def put_authority(api: Kubernetes, pair: KeyPair) -> None:
    data = encode({"tls.crt": pair.certificate, "tls.key": pair.private_key})
    api.patch("Secret", naming.AUTHORITY_SECRET, {"data": data}, namespace=naming.OPERATOR_NAMESPACE)


def test_a_replaced_authority_reaches_every_broker_of_the_running_operator(api: Kubernetes, names: list[str]) -> None:
    other = certificates.create_authority(now=datetime.now(UTC))
    put_authority(api, other)

    for name in names:
        live = api.wait_for("Secret", "mosquitto-tls", trusts(other.certificate), namespace=naming.namespace_of(name))
        pair = KeyPair(certificate=decode(live["data"]["tls.crt"]), private_key=decode(live["data"]["tls.key"]))
        hosts = naming.broker_hosts(name, "localhost", "mqtt.{name}.{base_domain}")
        assert certificates.is_current(pair, authority=other, hosts=hosts, now=datetime.now(UTC))


def test_an_authority_that_is_due_is_renewed_with_the_same_key(api: Kubernetes, names: list[str]) -> None:
    old = certificates.create_authority(now=datetime.now(UTC) - certificates.CA_LIFETIME + certificates.LIFETIME)
    put_authority(api, old)

    def renewed(live: Manifest | None) -> bool:
        return live is not None and decode(live["data"]["tls.crt"]) != old.certificate

    live = api.wait_for("Secret", naming.AUTHORITY_SECRET, renewed, namespace=naming.OPERATOR_NAMESPACE)
    assert decode(live["data"]["tls.key"]) == old.private_key
    certificate = decode(live["data"]["tls.crt"])
    for name in names:
        api.wait_for("Secret", "mosquitto-tls", trusts(certificate), namespace=naming.namespace_of(name))


def test_credentials_deleted_while_no_operator_ran_are_lost_until_they_are_restored(
    api: Kubernetes, operators: Operators, names: list[str]
) -> None:
    name, namespace = names[0], naming.namespace_of(names[0])
    backup = api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)
    operators.stop()
    api.delete("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)
    operators.start("restarted")

    live = api.wait_for(naming.KIND, name, in_phase("Failed"))
    assert condition_of(live, "Stalled")["reason"] == "CredentialsLost"
    assert api.find("Secret", naming.CREDENTIALS_SECRET, namespace=namespace) is None

    metadata = {key: backup["metadata"][key] for key in ("name", "namespace", "labels")}
    api.create({**backup, "metadata": metadata})
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    api.patch(naming.KIND, name, {"metadata": {"annotations": {naming.RETRY_AT_ANNOTATION: moment}}})
    api.wait_for(naming.KIND, name, is_ready)
    assert api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"] == backup["data"]


def test_a_single_value_that_is_missing_is_made_again(api: Kubernetes, operators: Operators, names: list[str]) -> None:
    name, namespace = names[1], naming.namespace_of(names[1])
    operators.stop()
    nothing = {"data": {"exporter_db_password": None}}
    before = api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"]
    api.patch("Secret", naming.CREDENTIALS_SECRET, nothing, namespace=namespace)
    operators.start("completing")

    def complete(live: Manifest | None) -> bool:
        return live is not None and live["data"].keys() == before.keys()

    after = api.wait_for("Secret", naming.CREDENTIALS_SECRET, complete, namespace=namespace)["data"]
    assert {key for key in after if after[key] != before[key]} == {"exporter_db_password"}
    password = base64.b64decode(after["exporter_db_password"])
    api.wait_for(
        "Secret",
        "postgres",
        lambda live: live is not None and base64.b64decode(live["data"]["exporter-password"]) == password,
        namespace=namespace,
    )
    api.wait_for(naming.KIND, name, is_ready)


def test_the_operator_asked_for_nothing_that_it_may_not_do(audit: AuditLog, names: list[str]) -> None:
    assert audit.overreaches(*names) == []
