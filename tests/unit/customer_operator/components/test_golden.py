"""Every component's objects, against files that a person has read."""

from collections.abc import Callable

import pytest

from customer_operator import naming
from customer_operator.components import (
    api,
    certificate,
    dashboard,
    guardrails,
    ingress,
    mosquitto,
    mqtt_exporter,
    namespace,
    network,
    postgres,
    stack,
)
from customer_operator.components.context import Context
from customer_operator.model.credentials import Login
from customer_operator.naming import Manifest
from customer_operator.observed.certificates import IssuedCertificate
from tests.support import golden
from tests.support.generate import make_context, make_instance, make_platform

LOCAL = make_platform(base_domain="localhost")
DOORLESS = make_platform(front_door=False)
ONE_ISSUER = make_platform(mqtt_certificate_issuer="letsencrypt")
TWO_ISSUERS = make_platform(mqtt_certificate_issuer="devices")
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}


def _namespace(context: Context) -> list[Manifest]:
    return namespace.build(context.instance, context.platform)


CASES: dict[str, tuple[Callable[[Context], list[Manifest]], Context]] = {
    "namespace": (_namespace, make_context()),
    "guardrails": (guardrails.build, make_context()),
    "guardrails-enterprise": (guardrails.build, make_context(make_instance(plan="enterprise"))),
    "guardrails-large": (
        guardrails.build,
        make_context(
            make_instance(
                resources={"api": {"limits": {"cpu": "6", "memory": "8Gi"}}},
                storage={"postgres": {"size": "200Gi"}},
            )
        ),
    ),
    "network": (network.build, make_context()),
    "network-without-front-door": (network.build, make_context(platform=DOORLESS)),
    "network-local": (network.build, make_context(platform=LOCAL)),
    "network-external": (network.build, make_context(make_instance(mqtt=EXTERNAL))),
    "postgres": (postgres.build, make_context()),
    "postgres-custom": (
        postgres.build,
        make_context(
            make_instance(
                storage={"postgres": {"size": "20480Mi", "storageClassName": "fast"}},
                resources={"postgres": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}}},
                images={"postgres": "postgres:18-alpine@sha256:" + "0" * 64},
            )
        ),
    ),
    "postgres-suspended": (postgres.build, make_context(scaled_down=True)),
    "mosquitto": (mosquitto.build, make_context()),
    "mosquitto-without-front-door": (mosquitto.build, make_context(platform=DOORLESS)),
    "mosquitto-local": (mosquitto.build, make_context(platform=LOCAL)),
    "mosquitto-loadbalancer": (mosquitto.build, make_context(make_instance(mqtt={"exposure": "LoadBalancer"}))),
    "mosquitto-issued": (
        mosquitto.build,
        make_context(
            platform=TWO_ISSUERS,
            has_cert_manager=True,
            issued=IssuedCertificate("mosquitto-certificate", hash="0" * 32, expires_at="2027-02-19T12:00:00Z"),
        ),
    ),
    "certificate": (certificate.build, make_context(platform=ONE_ISSUER, has_cert_manager=True)),
    "certificate-own": (certificate.build, make_context(platform=TWO_ISSUERS, has_cert_manager=True)),
    "mqtt-exporter": (mqtt_exporter.build, make_context()),
    "api": (api.build, make_context()),
    "api-local": (api.build, make_context(platform=LOCAL)),
    "api-external": (
        api.build,
        make_context(
            make_instance(mqtt=EXTERNAL), external_login=Login(username="acme", password="fake-external-password")
        ),
    ),
    "api-granted": (api.build, make_context(features={"alerting": True}, limits={"devices": None, "messages": -1})),
    "api-unlicensed": (api.build, make_context(license_key=None, license_jwks=None)),
    "dashboard": (dashboard.build, make_context()),
    "dashboard-local": (dashboard.build, make_context(platform=LOCAL)),
    "dashboard-professional": (dashboard.build, make_context(make_instance(plan="professional"))),
    "ingress": (ingress.build, make_context()),
    "ingress-without-front-door": (ingress.build, make_context(platform=DOORLESS)),
    "ingress-one-issuer": (ingress.build, make_context(platform=ONE_ISSUER)),
    "ingress-two-issuers": (ingress.build, make_context(platform=TWO_ISSUERS)),
    "ingress-custom": (
        ingress.build,
        make_context(
            make_instance(hostname="iot.acme.example", mqtt=EXTERNAL),
            platform=make_platform(ingress_class="", cluster_issuer="", ingress_annotations={}),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_component_builds_exactly_the_golden_objects(name: str) -> None:
    build, context = CASES[name]

    difference = golden.difference(name, build(context))

    assert not difference, f"\n{difference}\nIf this is meant: UPDATE_GOLDEN=1 pytest {__file__}"


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in golden.GOLDEN.glob("*.yaml")} == set(CASES)


def test_every_component_of_the_stack_has_a_golden_file() -> None:
    assert {component.name for component in stack.COMPONENTS} <= set(CASES)


@pytest.mark.parametrize(
    ("component", "context"),
    [
        ("mosquitto", make_context(make_instance(mqtt=EXTERNAL))),
        ("mqtt-exporter", make_context(make_instance(mqtt=EXTERNAL))),
        ("ingress", make_context(platform=LOCAL)),
    ],
    ids=["no broker beside an external one", "no exporter of an external broker", "no ingress on a local platform"],
)
def test_a_component_that_is_not_needed_is_no_part_of_the_stack(component: str, context: Context) -> None:
    built = {naming.component_of(item) for item in stack.objects(context)}

    assert built == {item.name for item in stack.COMPONENTS} - without(component, context)


def without(component: str, context: Context) -> set[str]:
    """Return what is missing: with an external broker the exporter goes, too; no issuer of certificates is named."""
    return {"certificate", *(("mosquitto", "mqtt-exporter") if context.instance.mqtt.external else (component,))}
