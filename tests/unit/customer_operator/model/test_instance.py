"""The resource as a typed object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from customer_operator.errors import InstanceInvalid
from customer_operator.model.instance import (
    Amounts,
    DeletionPolicy,
    DeletionRequest,
    Exposure,
    ExternalBroker,
    License,
    Mqtt,
    Plan,
    ResourceOverride,
    Volume,
    parse,
    parse_deletion,
)
from tests.support.generate import make_instance, make_resource


def test_a_minimal_resource_gets_the_defaults_of_the_contract() -> None:
    body = make_resource()
    body["spec"] = {"customer": body["spec"]["customer"]}

    instance = parse(body)

    assert (instance.name, instance.uid, instance.generation) == ("acme", body["metadata"]["uid"], 1)
    assert instance.created_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (instance.finalizers, instance.retry_at) == ((), None)
    assert parse_deletion(body) is None
    assert instance.customer.company_name == "Acme Corp"
    assert instance.plan is Plan.TRIAL
    assert instance.mqtt == Mqtt(exposure=Exposure.SNI)
    assert (instance.license, instance.hostname) == (None, None)
    assert (dict(instance.storage), dict(instance.resources), dict(instance.images)) == ({}, {}, {})
    assert (instance.suspend, instance.paused) == (False, False)
    assert instance.deletion_policy is DeletionPolicy.DELETE


def test_a_wanted_retry_and_the_finalizers_are_read() -> None:
    body = make_resource(annotations={"iotistic.cloud/retry-at": "2026-11-21T13:00:00Z"})
    body["metadata"]["finalizers"] = ["iotistic.cloud/operator"]

    instance = parse(body)

    assert instance.retry_at == "2026-11-21T13:00:00Z"
    assert instance.finalizers == ("iotistic.cloud/operator",)


def deleted(**spec: Any) -> dict[str, Any]:
    body = make_resource(**spec)
    body["metadata"] |= {"deletionTimestamp": "2026-11-21T14:00:00Z", "finalizers": ["iotistic.cloud/operator"]}
    return body


def test_a_deletion_is_read_with_what_it_needs() -> None:
    assert parse_deletion(deleted(deletionPolicy="Retain")) == DeletionRequest(
        name="acme",
        uid="00000000-0000-4000-8000-000000000001",
        generation=1,
        since=datetime(2026, 11, 21, 14, tzinfo=UTC),
        finalizers=("iotistic.cloud/operator",),
        policy=DeletionPolicy.RETAIN,
        customer_id="cust-0001",
    )


@pytest.mark.parametrize(
    ("spec", "policy", "customer_id"),
    [
        ({}, DeletionPolicy.DELETE, None),
        (None, DeletionPolicy.DELETE, None),
        ({"deletionPolicy": "Delete", "plan": "gold", "customer": "text"}, DeletionPolicy.DELETE, None),
        ({"deletionPolicy": "Archive"}, DeletionPolicy.RETAIN, None),
        ({"deletionPolicy": None}, DeletionPolicy.RETAIN, None),
        ({"deletionPolicy": ["Delete"]}, DeletionPolicy.RETAIN, None),
        ({"customer": {"email": "x"}}, DeletionPolicy.DELETE, None),
    ],
)
def test_a_deletion_can_be_read_of_any_spec_and_an_unknown_policy_keeps_the_data(
    spec: dict[str, Any] | None, policy: DeletionPolicy, customer_id: str | None
) -> None:
    request = parse_deletion({**deleted(), "spec": spec})

    assert request is not None
    assert (request.policy, request.customer_id) == (policy, customer_id)


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ({"key": "a.b.c"}, License(key="a.b.c")),
        ({"secretRef": {"name": "acme"}}, License(secret_name="acme", secret_key="license")),
        ({"secretRef": {"name": "acme", "key": "jwt"}}, License(secret_name="acme", secret_key="jwt")),
    ],
)
def test_a_license_is_inline_or_in_a_secret(written: dict[str, Any], parsed: License) -> None:
    assert make_instance(license=written).license == parsed


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ({"host": "b.example"}, ExternalBroker(host="b.example", port=8883, tls=True)),
        (
            {"host": "::1", "port": 1883, "tls": False, "credentialsSecretRef": {"name": "login"}},
            ExternalBroker(host="::1", port=1883, tls=False, credentials_secret="login"),
        ),
    ],
)
def test_an_external_broker_is_read_whole(written: dict[str, Any], parsed: ExternalBroker) -> None:
    assert make_instance(mqtt={"exposure": "External", "external": written}).mqtt.external == parsed


def test_overrides_are_read_in_canonical_form() -> None:
    instance = make_instance(
        resources={"api": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}}},
        storage={"postgres": {"size": "20480Mi", "storageClassName": "fast"}, "mosquitto": {"storageClassName": "x"}},
        images={"mqttExporter": "example/exporter:1"},
    )

    assert instance.resources["api"] == ResourceOverride(requests=Amounts(cpu="500m"), limits=Amounts(memory="1Gi"))
    assert instance.storage["postgres"] == Volume(size="20Gi", storage_class="fast")
    assert instance.storage["mosquitto"] == Volume(storage_class="x")
    assert instance.images["mqttExporter"] == "example/exporter:1"


def test_a_parsed_instance_cannot_be_changed() -> None:
    instance = make_instance(images={"api": "example/api:1"})

    with pytest.raises(AttributeError):
        instance.plan = Plan.ENTERPRISE  # type: ignore[misc]
    with pytest.raises(TypeError):
        instance.images["api"] = "another"  # type: ignore[index]


@pytest.mark.parametrize(
    ("spec", "field", "cure"),
    [
        ({"customer": None}, "spec.customer", "give it an object"),
        ({"customer": {"id": "x", "companyName": "y"}}, "spec.customer.email", "give it a value"),
        ({"plan": "gold"}, "spec.plan", "use one of trial, starter, professional, enterprise"),
        ({"license": {"key": "a.b.c", "secretRef": {"name": "x"}}}, "spec.license", "exactly one"),
        ({"license": {"secretRef": {}}}, "spec.license", "exactly one"),
        ({"mqtt": {"exposure": "Carrier pigeon"}}, "spec.mqtt.exposure", "use one of SNI, NodePort"),
        ({"mqtt": {"exposure": "External"}}, "spec.mqtt.external", "belongs to exposure External"),
        ({"mqtt": {"external": {"host": "x"}}}, "spec.mqtt.external", "belongs to exposure External"),
        ({"deletionPolicy": "Forget"}, "spec.deletionPolicy", "use one of Delete, Retain"),
        ({"storage": {"postgres": {"size": "big"}}}, "spec.storage.postgres.size", "such as"),
        ({"resources": {"api": {"limits": {"cpu": "fast"}}}}, "spec.resources.api.limits.cpu", "such as"),
        (
            {"resources": {"api": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1500Mi"}}}},
            "spec.resources.api.requests.memory",
            "lower it",
        ),
    ],
)
def test_what_cannot_be_carried_out_names_the_field_and_the_cure(spec: dict[str, Any], field: str, cure: str) -> None:
    with pytest.raises(InstanceInvalid) as caught:
        make_instance(**spec)

    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", field)
    assert cure in caught.value.message


def test_a_resource_without_spec_is_refused() -> None:
    with pytest.raises(InstanceInvalid, match="spec: it is missing"):
        parse({"metadata": {"name": "acme"}})


def test_plans_are_ranked_from_the_smallest_to_the_largest() -> None:
    assert sorted(Plan, key=lambda plan: plan.rank) == [
        Plan.TRIAL,
        Plan.STARTER,
        Plan.PROFESSIONAL,
        Plan.ENTERPRISE,
    ]
