"""The brokers' certificates by cert-manager: its CRDs, and its own controllers with an authority within the cluster."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from mqtt_router.routes import CONFIG_MAPS
from tests.support.audit import AuditLog
from tests.support.cert_manager import (
    CertManager,
    broker,
    has_revision,
    holds,
    mounted,
    next_second,
    pair_of,
    rolls,
    says,
    uses,
)
from tests.support.certificates import RATE_LIMIT, issued, refused
from tests.support.kubernetes import Kubernetes, condition_of, in_phase, is_gone, is_ready, is_there
from tests.support.operators import OperatorProcess, Operators
from tests.support.published import NAMESPACE as ROUTES
from tests.support.rights import DRY, assert_refused, thing
from tests.support.tenants import Tenants

DOMAIN = "iot.example.com"
# Nobody tries the brokers: there is no front door here.
PLATFORM = {"FRONT_DOOR": "true", "ROUTE_PROBE": "false", "BASE_DOMAIN": DOMAIN, "CLUSTER_ISSUER": "devices"}
ONE_ISSUER = {**PLATFORM, "MQTT_CERTIFICATE_ISSUER": "devices"}
A_LOOK = 60.0  # seconds: whether there is a kind is looked at every ten


@pytest.fixture(scope="module")
def cert_manager(
    cluster: LocalCluster, api: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CertManager]:
    """Nothing of cert-manager is there before a test installs it; its log is printed with a failure."""
    manager = CertManager(cluster, api, tmp_path_factory.mktemp("cert-manager"))
    yield manager
    manager.remove()
    print(manager.log_tail())  # noqa: T201 - pytest shows it with a failure


@pytest.fixture(scope="module")
def operator(operators: Operators, api: Kubernetes, cert_manager: CertManager) -> Iterator[OperatorProcess]:
    """An operator whose web and MQTT certificates are by one issuer, on a platform without cert-manager so far."""
    assert cert_manager
    operators.stop()
    yield operators.start("certificates", **ONE_ISSUER)
    operators.stop()
    for shard in CONFIG_MAPS:
        api.delete("ConfigMap", shard, namespace=ROUTES)


@pytest.fixture(scope="module")
def name(tenants: Tenants, operator: OperatorProcess) -> str:
    """An instance that all of this happens to."""
    assert operator.runs
    return tenants.ready()


@pytest.fixture
def home(name: str) -> str:
    return naming.namespace_of(name)


def test_without_cert_manager_everything_is_ready_with_the_platforms_own_authority(
    api: Kubernetes, tenants: Tenants, operator: OperatorProcess, name: str, home: str
) -> None:
    operator.wait_for_log("does not have the kind Certificate: brokers get no certificate by MQTT_CERTIFICATE_ISSUER")

    assert operator.ask("/readyz").is_success
    assert mounted(broker(api, home)) == "mosquitto-tls"
    assert condition_of(tenants.get(name), "CertificateReady") == {}
    assert operator.log.read_text().count("does not have the kind Certificate") == 1


def test_when_cert_manager_comes_the_broker_waits_for_its_certificate_and_rolls_once(
    api: Kubernetes, tenants: Tenants, cert_manager: CertManager, name: str, home: str
) -> None:
    before = broker(api, home)
    cert_manager.install()
    authority = cert_manager.create_issuer("devices")
    asked = api.wait_for("Certificate", "web-tls", is_there, namespace=home, timeout=A_LOOK)
    assert asked["spec"]["dnsNames"] == [f"{name}.{DOMAIN}", f"mqtt.{name}.{DOMAIN}"]
    api.wait_for(naming.KIND, name, says("False", "waiting for cert-manager"))
    assert rolls(before, broker(api, home)) == 0

    cert_manager.start()
    after = api.wait_for("StatefulSet", "mosquitto", uses("web-tls", after=before), namespace=home)
    api.wait_for(naming.KIND, name, is_ready)

    assert says("True", "valid until")(tenants.get(name))
    assert rolls(before, broker(api, home)) == rolls(before, after) == 1
    pair = pair_of(api.get("Secret", "web-tls", namespace=home))
    hosts = [f"{name}.{DOMAIN}", f"mqtt.{name}.{DOMAIN}"]
    ca = KeyPair(certificate=authority, private_key="")
    assert certificates.is_current(pair, authority=ca, hosts=hosts, now=datetime.now(UTC))
    assert len(api.items("CertificateRequest", namespace=home)) == 1


def test_a_renewal_rolls_the_broker_once(api: Kubernetes, cert_manager: CertManager, name: str, home: str) -> None:
    before = broker(api, home)
    next_second()
    cert_manager.renew("web-tls", namespace=home)

    api.wait_for("Certificate", "web-tls", has_revision(2), namespace=home)
    api.wait_for("StatefulSet", "mosquitto", uses("web-tls", after=before), namespace=home)
    api.wait_for(naming.KIND, name, is_ready)

    assert rolls(before, broker(api, home)) == 1


NO_CERTIFICATES: dict[str, tuple[dict[str, Any], str]] = {
    "an authority": ({"isCA": True}, "spec.isCA must not be set"),
    "a wildcard": ({"dnsNames": ["*.iotistic.cloud"]}, "without a wildcard"),
    "a host of the platform": ({"dnsNames": ["billing.iotistic.cloud"]}, "none of the platform itself"),
    "no host": ({"dnsNames": []}, "must name hosts"),
    "another Secret": ({"secretName": "credentials"}, "spec.secretName must be web-tls or mosquitto-certificate"),
    "an address": ({"ipAddresses": ["192.0.2.1"]}, "no other names than spec.dnsNames"),
    "an issuer of the namespace": ({"issuerRef": {"name": "devices", "kind": "Issuer"}}, "must be ClusterIssuer"),
}


@pytest.mark.parametrize(("spec", "message"), NO_CERTIFICATES.values(), ids=NO_CERTIFICATES)
def test_the_operator_may_not_ask_for(
    operator_access: Kubernetes, cert_manager: CertManager, home: str, spec: dict[str, Any], message: str
) -> None:
    assert cert_manager
    assert_refused(operator_access, lambda access: access.create(_certificate(home, **spec), **DRY), message)


def test_the_operator_may_ask_for_a_certificate_in_an_instances_namespace_and_sees_all_that_there_are(
    operator_access: Kubernetes, home: str
) -> None:
    operator_access.create(_certificate(home), **DRY)
    assert operator_access.items("Certificate", labels=naming.INSTANCE_LABEL)
    message = 'cannot create resource "certificates"'
    assert_refused(operator_access, lambda access: access.create(_certificate("default"), **DRY), message)


def _certificate(namespace: str, **spec: Any) -> Manifest:
    asked = {
        "secretName": "mosquitto-certificate",
        "dnsNames": ["mqtt.acme.iotistic.cloud"],
        "issuerRef": {"name": "devices", "kind": "ClusterIssuer"},
        **spec,
    }
    return thing("Certificate", "probe", namespace=namespace, version="cert-manager.io/v1", spec=asked)


def test_a_certificate_that_is_deleted_by_hand_is_restored_and_no_broker_rolls(
    api: Kubernetes, cert_manager: CertManager, name: str, home: str
) -> None:
    before, old = broker(api, home), api.get("Certificate", "web-tls", namespace=home)
    cert_manager.stop()
    api.delete("Certificate", "web-tls", namespace=home)

    def another(live: Manifest | None) -> bool:
        return live is not None and live["metadata"]["uid"] != old["metadata"]["uid"]

    api.wait_for("Certificate", "web-tls", another, namespace=home)
    api.wait_for(naming.KIND, name, says("False", "waiting for cert-manager"))
    assert mounted(broker(api, home)) == "web-tls"

    cert_manager.start()
    api.wait_for(naming.KIND, name, is_ready)
    assert rolls(before, broker(api, home)) == 0


def test_a_refusing_issuer_is_reported_and_the_broker_unharmed(
    api: Kubernetes, tenants: Tenants, cert_manager: CertManager, name: str, home: str
) -> None:
    cert_manager.stop()
    other = tenants.order()
    at = naming.namespace_of(other)
    api.wait_for("Certificate", "web-tls", is_there, namespace=at)
    cert_manager.say(refused(), "web-tls", namespace=at)

    failed = api.wait_for(naming.KIND, other, says("False", RATE_LIMIT))
    api.wait_for(naming.KIND, other, in_phase("Failed"))
    api.wait_for(naming.KIND, other, holds("MosquittoReady"))
    assert condition_of(failed, "CertificateReady")["reason"] == "Stuck"
    assert mounted(broker(api, at)) == "mosquitto-tls"

    # A renewal that fails takes nothing from a broker that has a certificate.
    before, status = broker(api, home), api.get("Certificate", "web-tls", namespace=home)["status"]
    cert_manager.say(refused(**status), "web-tls", namespace=home)
    api.wait_for(naming.KIND, name, says("True", f"its renewal fails: Failed: {RATE_LIMIT}"))
    assert is_ready(tenants.get(name))
    assert rolls(before, broker(api, home)) == 0

    cert_manager.say({}, "web-tls", namespace=at)
    cert_manager.start()
    api.wait_for(naming.KIND, other, is_ready)
    assert mounted(broker(api, at)) == "web-tls"


def test_a_certificate_that_ends_gives_way_to_the_platforms_own_and_comes_back(
    api: Kubernetes, cert_manager: CertManager, name: str, home: str
) -> None:
    cert_manager.stop()
    before, live = broker(api, home), api.get("Certificate", "web-tls", namespace=home)
    ended = issued(until="2026-01-01T00:00:00Z", generation=live["metadata"]["generation"])
    api.patch("StatefulSet", "mosquitto", _expiring("2026-01-01T00:00:00Z"), namespace=home)
    cert_manager.say(ended, "web-tls", namespace=home)

    api.wait_for("StatefulSet", "mosquitto", uses("mosquitto-tls", after=before), namespace=home)
    cert_manager.start()
    api.wait_for("StatefulSet", "mosquitto", uses("web-tls", after=before), namespace=home)
    api.wait_for(naming.KIND, name, is_ready)


def _expiring(moment: str) -> dict[str, Any]:
    annotations = {naming.CERTIFICATE_EXPIRY_ANNOTATION: moment}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def test_with_an_issuer_of_its_own_the_broker_goes_over_to_its_own_certificate(
    api: Kubernetes, operators: Operators, cert_manager: CertManager, name: str, home: str
) -> None:
    """The web's is made of the annotated Ingress by cert-manager then, with the labels of the Ingress."""
    before, ours = broker(api, home), api.get("Certificate", "web-tls", namespace=home)
    cert_manager.create_issuer("brokers")
    operators.stop()
    operators.start("two-issuers", **PLATFORM, MQTT_CERTIFICATE_ISSUER="brokers")

    after = api.wait_for("StatefulSet", "mosquitto", uses("mosquitto-certificate", after=before), namespace=home)
    api.wait_for(naming.KIND, name, is_ready)
    theirs = api.wait_for("Certificate", "web-tls", has_revision(1), namespace=home)

    assert rolls(before, after) == 1
    assert theirs["metadata"]["uid"] != ours["metadata"]["uid"]
    assert theirs["metadata"]["labels"][naming.INSTANCE_LABEL] == name
    assert theirs["metadata"]["ownerReferences"][0]["kind"] == "Ingress"
    assert theirs["spec"]["dnsNames"] == [f"{name}.{DOMAIN}"]


def test_without_an_issuer_the_certificate_goes_and_the_broker_has_the_platforms_own(
    api: Kubernetes, operators: Operators, audit: AuditLog, name: str, home: str
) -> None:
    before, theirs = broker(api, home), api.get("Certificate", "web-tls", namespace=home)
    operators.stop()
    marked = audit.from_now_on()
    operators.start("no-issuer", **PLATFORM)

    api.wait_for("Certificate", "mosquitto-certificate", is_gone, namespace=home)
    after = api.wait_for("StatefulSet", "mosquitto", uses("mosquitto-tls", after=before), namespace=home)
    live = api.wait_for(naming.KIND, name, is_ready)

    assert condition_of(live, "CertificateReady") == {}
    assert naming.CERTIFICATE_ANNOTATION not in after["metadata"]["annotations"]
    assert api.get("Certificate", "web-tls", namespace=home)["metadata"]["uid"] == theirs["metadata"]["uid"]
    asked = [one for one in marked.requests() if one.resource == "certificates" and one.agent.startswith("customer-op")]
    assert {one.verb for one in asked} == {"get", "delete"}


def test_taking_up_the_ingress_certificate_makes_it_the_operators_own(
    api: Kubernetes, operators: Operators, name: str, home: str
) -> None:
    before, theirs = broker(api, home), api.get("Certificate", "web-tls", namespace=home)
    operators.stop()
    operators.start("taking-up", **ONE_ISSUER)

    api.wait_for("StatefulSet", "mosquitto", uses("web-tls", after=before), namespace=home)
    api.wait_for(naming.KIND, name, is_ready)

    live = api.get("Certificate", "web-tls", namespace=home)
    assert live["metadata"]["uid"] == theirs["metadata"]["uid"]
    assert not live["metadata"].get("ownerReferences")
    assert live["spec"]["dnsNames"] == [f"{name}.{DOMAIN}", f"mqtt.{name}.{DOMAIN}"]
