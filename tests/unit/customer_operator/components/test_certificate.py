"""Who gets a certificate of cert-manager's, which one, and what that does to broker and Ingress."""

from dataclasses import replace
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.components import certificate, ingress, mosquitto, stack
from customer_operator.components.context import Context
from customer_operator.naming import Manifest
from customer_operator.observed import certificates
from customer_operator.observed.certificates import IssuedCertificate
from tests.support.generate import make_context, make_credentials, make_instance, make_platform

ISSUER = "cert-manager.io/cluster-issuer"
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}
ISSUED = IssuedCertificate("web-tls", hash="f" * 32, expires_at="2027-02-19T12:00:00Z")


def context(issuer: str = "letsencrypt", *, spec: dict[str, Any] | None = None, **platform: Any) -> Context:
    """Return an instance on a platform whose web certificates are issued by `letsencrypt`."""
    built = make_platform(mqtt_certificate_issuer=issuer, **platform)
    return make_context(make_instance(**(spec or {})), platform=built, has_cert_manager=True)


def names_of(given: Context) -> list[tuple[str, list[str]]]:
    return [
        (item["metadata"]["name"], item["spec"]["dnsNames"])
        for item in stack.objects(given)
        if item["kind"] == "Certificate"
    ]


def broker_of(given: Context) -> Manifest:
    return next(item for item in mosquitto.build(given) if item["kind"] == "StatefulSet")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (context(""), []),
        (context(base_domain="localhost"), []),
        (context(spec={"mqtt": EXTERNAL}), []),
        (replace(context(), has_cert_manager=False), []),
        (context(), [("web-tls", ["acme.iot.example.com", "mqtt.acme.iot.example.com"])]),
        (context(front_door=False), [("web-tls", ["acme.iot.example.com", "mqtt.acme.iot.example.com"])]),
        (context("devices"), [("mosquitto-certificate", ["mqtt.acme.iot.example.com"])]),
        (context(cluster_issuer=""), [("mosquitto-certificate", ["mqtt.acme.iot.example.com"])]),
        # A domain that may not lead here yet must not keep the devices from their certificate.
        (context(spec={"hostname": "iot.acme.example"}), [("mosquitto-certificate", ["mqtt.acme.iot.example.com"])]),
        (
            context("devices", spec={"mqtt": {"exposure": "LoadBalancer"}}),
            [("mosquitto-certificate", ["mqtt.acme.iot.example.com"])],
        ),
    ],
)
def test_a_certificate_is_asked_for_where_a_broker_has_a_public_name(
    given: Context, expected: list[tuple[str, list[str]]]
) -> None:
    assert names_of(given) == expected


@pytest.mark.parametrize(
    ("given", "annotated", "hosts"),
    [
        (context(""), True, ["acme.iot.example.com", "mqtt.acme.iot.example.com"]),
        (context(), False, ["acme.iot.example.com"]),
        # Without the kind there is nobody to read the annotation, and nothing to be asked for twice when there is.
        (replace(context(), has_cert_manager=False), False, ["acme.iot.example.com"]),
        (context("devices"), True, ["acme.iot.example.com"]),
        (context(spec={"hostname": "iot.acme.example"}), True, ["iot.acme.example"]),
        (context(spec={"mqtt": EXTERNAL}), True, ["acme.iot.example.com"]),
        (context(ingress_annotations={ISSUER: "letsencrypt"}), False, ["acme.iot.example.com"]),
    ],
)
def test_every_host_is_asked_for_once(given: Context, annotated: bool, hosts: list[str]) -> None:
    (built,) = ingress.build(given)

    assert (ISSUER in built["metadata"].get("annotations", {})) == annotated
    assert built["spec"]["tls"] == [{"hosts": hosts, "secretName": "web-tls"}]


def test_no_broker_is_restarted_for_an_issuer_alone() -> None:
    before, after = broker_of(context("")), broker_of(context())

    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"] == {naming.CERTIFICATE_ANNOTATION: "web-tls"}
    assert certificates.requested(after) == "web-tls"
    assert certificates.of(after) is None


def test_a_broker_with_an_issued_certificate_is_restarted_for_that_one_alone() -> None:
    given = replace(context(), issued=ISSUED)
    with_new_local = replace(given, credentials=make_credentials(tls_ca_pem="-----BEGIN CERTIFICATE-----\nbmV3\n"))
    renewed = replace(given, issued=replace(ISSUED, hash="e" * 32))

    assert certificates.of(broker_of(given)) == ISSUED
    assert broker_of(with_new_local)["spec"] == broker_of(given)["spec"]
    assert broker_of(renewed)["spec"]["template"] != broker_of(given)["spec"]["template"]


def test_the_local_certificate_stays_beside_an_issued_one() -> None:
    kept = [item for item in mosquitto.build(replace(context(), issued=ISSUED)) if item["kind"] == "Secret"]

    assert mosquitto.TLS_SECRET in [item["metadata"]["name"] for item in kept]


def test_the_certificate_is_no_authority_and_its_key_is_new_each_time() -> None:
    (built,) = certificate.build(context())

    assert "isCA" not in built["spec"]
    assert built["spec"]["privateKey"]["rotationPolicy"] == "Always"
