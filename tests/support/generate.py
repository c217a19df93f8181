"""Instances and contexts for tests: `make_…(**overrides)` change what matters to a test, the rest stands still."""

import json
from dataclasses import replace
from typing import Any

from customer_operator import naming
from customer_operator.components.context import Context
from customer_operator.model.credentials import Credentials
from customer_operator.model.instance import CustomerInstance, Plan, parse
from customer_operator.model.plans import PLANS
from customer_operator.model.platform import Platform
from customer_operator.settings import Settings

INSTANCE = "acme"
LICENSE_KEY = "fake-header.fake-payload.fake-signature"
LICENSE_JWKS = json.dumps({"keys": [{"kty": "RSA", "kid": "fake", "n": "AQAB", "e": "AQAB"}]})


def make_resource(name: str = INSTANCE, *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a CustomerInstance as the API server would give it; keyword arguments are fields of spec."""
    metadata: dict[str, Any] = {
        "name": name,
        "uid": "00000000-0000-4000-8000-000000000001",
        "generation": 1,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "resourceVersion": "1",
    }
    if annotations:
        metadata["annotations"] = annotations
    customer = {"id": "cust-0001", "email": "ops@acme.example", "companyName": "Acme Corp"}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": metadata,
        "spec": {"customer": customer, "plan": "starter", "mqtt": {"exposure": "SNI"}, **spec},
    }


def make_instance(name: str = INSTANCE, **spec: Any) -> CustomerInstance:
    """Return a parsed instance; keyword arguments are fields of spec, spelled as in the contract."""
    return parse(make_resource(name, **spec))


def make_platform(**overrides: Any) -> Platform:
    """Return a production platform under example.com, with a front door."""
    values: dict[str, Any] = {
        "base_domain": "iot.example.com",
        "ingress_class": "traefik",
        "front_door": True,
        "ingress_annotations": {"example.com/body-size": "50m"},
        "cluster_issuer": "letsencrypt",
    }
    platform = Settings.model_construct(**values).platform()
    return replace(platform, **overrides)


def make_credentials(**overrides: str) -> Credentials:
    """Return credentials that nobody could take for real ones."""
    values = {
        "postgres_password": "fake-superuser-password",
        "api_db_password": "fake-api-database-password",
        "broker_db_password": "fake-broker-database-password",
        "exporter_db_password": "fake-exporter-database-password",
        "mqtt_api_password": "fake-api-mqtt-password",
        "mqtt_api_password_hash": "$2b$04$" + "FakeHashOfTheApi".ljust(53, "."),
        "mqtt_exporter_password": "fake-exporter-mqtt-password",
        "mqtt_exporter_password_hash": "$2b$04$" + "FakeHashOfTheExporter".ljust(53, "."),
        "mqtt_probe_password": "fake-probe-mqtt-password",
        "mqtt_probe_password_hash": "$2b$04$" + "FakeHashOfTheProbe".ljust(53, "."),
        "tls_certificate_pem": _fake_pem("CERTIFICATE", "ZmFrZSBjZXJ0aWZpY2F0ZQ=="),
        "tls_private_key_pem": _fake_pem("PRIVATE KEY", "ZmFrZSBrZXk="),
        "tls_ca_pem": _fake_pem("CERTIFICATE", "ZmFrZSBhdXRob3JpdHk="),
    }
    return Credentials(**{**values, **overrides})


def make_context(instance: CustomerInstance | None = None, **overrides: Any) -> Context:
    """Return everything the builders need; the plan in force is the instance's unless given."""
    instance = instance or make_instance()
    values = {
        "instance": instance,
        "plan": instance.plan,
        "features": PLANS[instance.plan].features,
        "limits": PLANS[instance.plan].limits,
        "platform": make_platform(),
        "credentials": make_credentials(),
        "license_key": LICENSE_KEY,
        "license_jwks": LICENSE_JWKS,
    }
    return Context(**{**values, **overrides})


def with_plan(context: Context, plan: Plan) -> Context:
    """Return the same instance under another plan."""
    instance, row = replace(context.instance, plan=plan), PLANS[plan]
    return replace(context, plan=plan, features=row.features, limits=row.limits, instance=instance)


def _fake_pem(label: str, body: str) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"
