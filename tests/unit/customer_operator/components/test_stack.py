"""The stack as a whole: what is applied when, what belongs to whom, and what a change may touch."""

import base64
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.components.context import Context
from customer_operator.kube import kinds
from customer_operator.model.credentials import Credentials, Login
from customer_operator.model.instance import Plan
from customer_operator.naming import Manifest
from tests.support.generate import (
    LICENSE_KEY,
    make_context,
    make_credentials,
    make_instance,
    make_platform,
    make_resource,
    with_plan,
)

LONGEST_NAME = "a" * 40
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}

CONTEXTS: dict[str, Context] = {
    "starter": make_context(),
    "enterprise": make_context(make_instance(plan="enterprise")),
    "local": make_context(platform=make_platform(base_domain="localhost")),
    "node port": make_context(make_instance(mqtt={"exposure": "NodePort"})),
    "load balancer": make_context(make_instance(mqtt={"exposure": "LoadBalancer"})),
    "external": make_context(
        make_instance(mqtt=EXTERNAL), external_login=Login(username="acme", password="fake-external-password")
    ),
    "suspended": make_context(scaled_down=True),
    "certificate": make_context(platform=make_platform(mqtt_certificate_issuer="letsencrypt"), has_cert_manager=True),
    "bare": make_context(license_key=None, license_jwks=None, platform=make_platform(cluster_issuer="")),
    "longest name": make_context(make_instance(LONGEST_NAME)),
}
every_context = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)


def _everything(context: Context) -> list[Manifest]:
    return [*stack.foundation(context.instance, context.platform), *stack.objects(context)]


def _keyed(context: Context) -> dict[str, Manifest]:
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in stack.objects(context)}


def _changed(one: Context, other: Context) -> set[str]:
    """Return the objects that differ between two contexts, also those that only one of them has."""
    before, after = _keyed(one), _keyed(other)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _values(value: Any) -> Iterator[Any]:
    """Yield every value within a JSON value, itself included."""
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _values(child)


# -- order ------------------------------------------------------------------------------------------------------------


def test_services_come_before_the_quota_and_workloads_after_everything() -> None:
    waves = [{item["kind"] for item in wave} for wave in kinds.waves(stack.objects(make_context()))]

    assert waves[0] == {"Service"}
    assert "ResourceQuota" in waves[1]
    assert waves[2] == {"Deployment", "StatefulSet"}


@every_context
def test_the_waves_hold_every_object_once(context: Context) -> None:
    manifests = stack.objects(context)

    applied = [item for wave in kinds.waves(manifests) for item in wave]

    assert sorted(map(json.dumps, applied)) == sorted(map(json.dumps, manifests))


def test_an_object_of_an_unknown_kind_has_no_place() -> None:
    with pytest.raises(ValueError, match="CronJob has no place in the waves"):
        kinds.waves([{"kind": "CronJob", "metadata": {"name": "x"}}])


def test_two_components_that_build_the_same_object_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "COMPONENTS", (*stack.COMPONENTS, stack.COMPONENTS[0]))

    with pytest.raises(ValueError, match="two components build ResourceQuota quota"):
        stack.objects(make_context())


def test_the_foundation_is_the_namespace_and_then_the_right_to_work_in_it() -> None:
    context = make_context()
    namespace, binding = stack.foundation(context.instance, context.platform)

    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", "customer-acme")
    assert namespace["metadata"]["ownerReferences"] == [naming.owner_reference("acme", context.instance.uid)]
    assert (binding["kind"], binding["metadata"]["name"]) == ("RoleBinding", naming.TENANT_ROLE)
    assert binding["roleRef"]["name"] == naming.TENANT_ROLE
    assert binding["subjects"][0]["namespace"] == context.platform.operator_namespace


# -- names and labels -------------------------------------------------------------------------------------------------


@every_context
def test_every_object_is_labelled_with_instance_and_component(context: Context) -> None:
    components = {"tenancy", *(component.name for component in stack.COMPONENTS)}

    for manifest in _everything(context):
        labels = manifest["metadata"]["labels"]
        assert naming.labels(context.name, naming.component_of(manifest)).items() <= labels.items()
        assert naming.component_of(manifest) in components


@every_context
def test_every_object_but_the_namespace_is_in_the_instances_namespace(context: Context) -> None:
    namespaces = {item["metadata"].get("namespace") for item in _everything(context) if item["kind"] != "Namespace"}

    assert namespaces == {naming.namespace_of(context.name)}


@every_context
def test_names_and_labels_keep_to_63_characters(context: Context) -> None:
    for manifest in _everything(context):
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())


@every_context
def test_names_within_the_namespace_do_not_repeat_the_customer(context: Context) -> None:
    assert not [item for item in stack.objects(context) if context.name in item["metadata"]["name"]]


@every_context
def test_every_selector_selects_the_pods_of_its_own_component_only(context: Context) -> None:
    manifests = stack.objects(context)
    templates = {
        naming.component_of(item): item["spec"]["template"]["metadata"]["labels"]
        for item in manifests
        if "template" in item.get("spec", {})
    }
    for manifest in manifests:
        spec = manifest.get("spec", {})
        selector = spec.get("selector", {}).get("matchLabels") or spec.get("selector")
        if selector:
            selected = {name for name, labels in templates.items() if selector.items() <= labels.items()}
            assert selected == {naming.component_of(manifest)}


def workloads(manifests: list[Manifest], component: str) -> list[Manifest]:
    return [item for item in manifests if item["kind"] in kinds.WORKLOADS and naming.component_of(item) == component]


@every_context
def test_a_condition_speaks_of_a_workload_of_its_component(context: Context) -> None:
    manifests = stack.objects(context)
    with_workload = {item.name for item in stack.COMPONENTS if workloads(manifests, item.name)}
    with_condition = {item.name for item in stack.COMPONENTS if item.condition}

    missing = with_condition - with_workload
    assert with_workload <= with_condition
    assert missing == ({"mosquitto", "mqtt-exporter"} if context.instance.mqtt.external else set())


def test_the_conditions_are_those_of_the_contract() -> None:
    assert [item.condition for item in stack.COMPONENTS if item.condition] == [
        "PostgresReady",
        "MosquittoReady",
        "MqttExporterReady",
        "ApiReady",
        "DashboardReady",
    ]


@every_context
def test_everything_a_pod_refers_to_exists(context: Context) -> None:
    keyed = _keyed(context)
    for manifest in keyed.values():
        pod = manifest.get("spec", {}).get("template", {}).get("spec")
        if not pod:
            continue
        assert f"ServiceAccount/{pod['serviceAccountName']}" in keyed
        for value in _values(pod):
            for key, item in value.items() if isinstance(value, dict) else ():
                if key == "secret":
                    data = keyed[f"Secret/{item['secretName']}"]["data"]
                    assert {entry["key"] for entry in item.get("items", ())} <= data.keys()
                if key == "secretKeyRef" and not item.get("optional"):
                    assert item["key"] in keyed[f"Secret/{item['name']}"]["data"]


@every_context
def test_the_ingress_leads_to_ports_that_exist(context: Context) -> None:
    keyed = _keyed(context)
    for manifest in keyed.values():
        for rule in manifest["spec"]["rules"] if manifest["kind"] == "Ingress" else ():
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                ports = keyed[f"Service/{service['name']}"]["spec"]["ports"]
                assert service["port"]["name"] in {port["name"] for port in ports}


# -- purity -----------------------------------------------------------------------------------------------------------


@every_context
def test_the_same_context_gives_the_same_objects(context: Context) -> None:
    assert _everything(context) == _everything(context)


def test_the_order_of_overrides_does_not_matter() -> None:
    overrides = {"api": {"limits": {"cpu": "1"}}, "postgres": {"limits": {"cpu": "2"}}}
    turned = dict(reversed(overrides.items()))

    assert stack.objects(make_context(make_instance(resources=overrides))) == stack.objects(
        make_context(make_instance(resources=turned))
    )


@every_context
def test_no_two_objects_share_a_part(context: Context) -> None:
    """Whoever changes one object changes no other, nor what the next build returns."""
    parts = [
        id(value)
        for manifest in [*_everything(context), *_everything(context)]
        for value in _values(manifest)
        if isinstance(value, dict | list)
    ]

    assert len(parts) == len(set(parts))


@every_context
def test_objects_hold_nothing_that_the_server_would_drop(context: Context) -> None:
    """Nulls, empty texts and maps would never be found in the live object; `podSelector: {}` is.

    Empty lists of rules are ours nevertheless: nobody else may put one in.
    """
    for manifest in _everything(context):
        nothing: list[object] = [None, "", {}, *([] if manifest["kind"] == "NetworkPolicy" else [[]])]
        empty = [value for value in _values(manifest) if value in nothing and value is not False]
        allowed = 1 if manifest["metadata"]["name"] == "default-deny" else 0
        assert len(empty) == allowed, manifest


# -- secrets ----------------------------------------------------------------------------------------------------------


@every_context
def test_no_secret_value_is_outside_a_secret(context: Context) -> None:
    secrets = [getattr(context.credentials, item.name) for item in fields(Credentials)]
    secrets += [context.license_key, context.external_login and context.external_login.password]

    text = json.dumps([item for item in _everything(context) if item["kind"] != "Secret"])

    for secret in filter(None, secrets):
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode() not in text
    assert context.instance.customer.email not in text


def test_a_context_does_not_show_secrets_when_printed() -> None:
    context = make_context(external_login=Login(username="acme", password="fake-external-password"))
    text = repr(context)

    assert LICENSE_KEY not in text
    assert "fake-" not in text.replace(repr(context.platform), "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"broker_db_password": "with space"}, "broker_db_password must consist of"),
        ({"postgres_password": "it's"}, "postgres_password must consist of"),
        ({"mqtt_api_password_hash": "plain"}, "mqtt_api_password_hash must be a bcrypt hash"),
    ],
)
def test_credentials_that_could_break_out_of_a_file_are_refused_without_being_shown(
    values: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make_credentials(**values)

    assert not any(value in str(caught.value) for value in values.values())


def test_a_company_name_reaches_the_pod_as_it_was_written() -> None:
    customer = {"id": "x", "email": "a@b.example", "companyName": "Bits & $(PORT) $$ Ünïcode"}
    dashboard = _keyed(make_context(make_instance(customer=customer)))["Deployment/dashboard"]
    env = {item["name"]: item["value"] for item in dashboard["spec"]["template"]["spec"]["containers"][0]["env"]}

    # The kubelet turns $$ into $, and leaves alone what follows it.
    assert env["CUSTOMER_COMPANY"] == "Bits & $$(PORT) $$$$ Ünïcode"


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_renewed_license_restarts_the_api_and_nothing_else() -> None:
    context = make_context()

    assert _changed(context, replace(context, license_key="fake.renewed.license")) == {
        "Secret/license",
        "Deployment/api",
    }


def test_new_license_keys_restart_the_api_and_nothing_else() -> None:
    context = make_context()

    assert _changed(context, replace(context, license_jwks='{"keys": []}')) == {"Secret/license", "Deployment/api"}


def test_a_renewed_certificate_restarts_the_broker_and_nothing_else() -> None:
    renewed = make_credentials(tls_certificate_pem="-----BEGIN CERTIFICATE-----\nbmV3\n-----END CERTIFICATE-----\n")

    assert _changed(make_context(), make_context(credentials=renewed)) == {
        "Secret/mosquitto-tls",
        "StatefulSet/mosquitto",
    }


@pytest.mark.parametrize(("before", "after"), [pair for pair in product(Plan, Plan) if pair[0] != pair[1]])
def test_a_change_of_plan_leaves_database_broker_and_passwords_alone(before: Plan, after: Plan) -> None:
    context = make_context()

    changed = _changed(with_plan(context, before), with_plan(context, after))

    assert "Deployment/api" in changed
    assert changed <= {
        "Deployment/api",
        "Deployment/dashboard",
        "PodDisruptionBudget/dashboard",
        "ResourceQuota/quota",
        "Secret/license",
    }


def test_suspension_changes_nothing_but_the_number_of_pods() -> None:
    awake, asleep = _keyed(make_context()), _keyed(make_context(scaled_down=True))

    assert awake.keys() == asleep.keys()
    for key, manifest in asleep.items():
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            assert manifest["spec"]["replicas"] == 0
            manifest["spec"]["replicas"] = awake[key]["spec"]["replicas"]
    assert asleep == awake


ACME = {name: context for name, context in CONTEXTS.items() if context.name == "acme"}


@pytest.mark.parametrize(("one", "other"), list(product(ACME, ACME)))
def test_no_change_touches_what_the_api_server_holds_immutable(one: str, other: str) -> None:
    before, after = _keyed(ACME[one]), _keyed(ACME[other])

    for key in before.keys() & after.keys():
        old, new = before[key], after[key]
        assert old.get("type") == new.get("type")  # of a Secret
        if old["kind"] in ("Deployment", "StatefulSet"):
            assert old["spec"]["selector"] == new["spec"]["selector"]
            for field in ("serviceName", "podManagementPolicy", "volumeClaimTemplates"):
                assert old["spec"].get(field) == new["spec"].get(field)


def test_a_starter_has_few_objects() -> None:
    assert len(_everything(make_context())) == 34


def test_only_several_pods_have_a_disruption_budget() -> None:
    """With one pod it would hold up the drain of a node, or do nothing."""
    for context in CONTEXTS.values():
        keyed = _keyed(context)
        for key, manifest in keyed.items():
            if manifest["kind"] == "PodDisruptionBudget":
                workload = keyed[key.replace("PodDisruptionBudget", "Deployment")]
                assert workload["spec"]["replicas"] > 1


# -- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "web", "mqtt"),
    [
        (make_context(), "acme.iot.example.com", "mqtt.acme.iot.example.com"),
        (make_context(make_instance(hostname="iot.acme.example")), "iot.acme.example", "mqtt.acme.iot.example.com"),
        (
            make_context(
                platform=make_platform(
                    web_host_template="{name}-web.{base_domain}", mqtt_host_template="{name}-mqtt.{base_domain}"
                )
            ),
            "acme-web.iot.example.com",
            "acme-mqtt.iot.example.com",
        ),
    ],
)
def test_hosts_follow_the_templates_and_the_customers_own_domain(context: Context, web: str, mqtt: str) -> None:
    assert (context.web_host, context.mqtt_host) == (web, mqtt)


def test_the_operators_own_namespace_is_no_instances() -> None:
    assert not naming.OPERATOR_NAMESPACE.startswith(naming.namespace_of(""))


def test_the_names_of_the_crd_are_those_of_the_code() -> None:
    resource = make_resource()

    assert (resource["apiVersion"], resource["kind"]) == ("iotistic.cloud/v1alpha1", "CustomerInstance")
    assert f"{naming.PLURAL}.{naming.GROUP}" == "customerinstances.iotistic.cloud"
