"""The contract as the real API server enforces it: what is accepted, what is refused and in which words."""

import shlex
from typing import Any

import pytest
import yaml

from customer_operator import naming
from customer_operator.model.instance import Exposure, Plan, parse
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support.kubernetes import Kubernetes, Refused, is_gone, order
from tests.support.tenants import Tenants

SAMPLES = sorted((PROJECT_ROOT / "manifests" / "samples").glob("*.yaml"))
DRY = {"dryRun": "All"}
TOKEN = "header.payload.signature"


def samples() -> list[Manifest]:
    return [document for path in SAMPLES for document in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: str(sample["metadata"]["name"]))
def test_every_sample_is_accepted_and_understood(api: Kubernetes, sample: Manifest) -> None:
    accepted = api.create(sample, **DRY)
    assert parse(accepted).name == sample["metadata"]["name"]


def test_the_samples_show_every_plan_and_every_exposure(api: Kubernetes) -> None:
    accepted = [parse(api.create(sample, **DRY)) for sample in samples()]
    assert {instance.plan for instance in accepted} == set(Plan)
    assert {instance.mqtt.exposure for instance in accepted} == set(Exposure)


def test_what_is_left_out_gets_its_default(api: Kubernetes) -> None:
    accepted = api.create(order("defaults"), **DRY)["spec"]
    del accepted["customer"]
    assert accepted == {
        "plan": "trial",
        "mqtt": {"exposure": "SNI"},
        "suspend": False,
        "deletionProtection": False,
        "deletionPolicy": "Delete",
        "paused": False,
    }


def test_defaults_within_what_is_given(api: Kubernetes) -> None:
    external = {"exposure": "External", "external": {"host": "broker.example"}}
    accepted = api.create(order("defaults", mqtt=external, license={"secretRef": {"name": "license"}}), **DRY)["spec"]
    assert accepted["mqtt"]["external"] == {"host": "broker.example", "port": 8883, "tls": True}
    assert accepted["license"]["secretRef"] == {"name": "license", "key": "license"}


def customer(**changes: Any) -> dict[str, Any]:
    """Return a customer with fields changed; None leaves one out."""
    values = {"id": "cust-1", "email": "ops@acme.example", "companyName": "Acme", **changes}
    return {"customer": {name: value for name, value in values.items() if value is not None}}


def external(**broker: Any) -> dict[str, Any]:
    return {"mqtt": {"exposure": "External", "external": broker}}


def postgres(**volume: Any) -> dict[str, Any]:
    return {"storage": {"postgres": volume}}


def api_resources(**amounts: Any) -> dict[str, Any]:
    return {"resources": {"api": amounts}}


# What somebody may write by mistake, and what the refusal must name: the field, and where it helps, the cure.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no customer id": (customer(id=None), "spec.customer.id: Required"),
    "no e-mail": (customer(email=None), "spec.customer.email: Required"),
    "no company": (customer(companyName=None), "spec.customer.companyName: Required"),
    "empty customer id": (customer(id=""), "spec.customer.id"),
    "customer id with a slash": (customer(id="a/b"), "spec.customer.id"),
    "customer id too long for a label": (customer(id="x" * 64), "spec.customer.id"),
    "e-mail without @": (customer(email="acme.example"), "spec.customer.email"),
    "e-mail with a space": (customer(email="o ps@acme.example"), "spec.customer.email"),
    "company name too long": (customer(companyName="x" * 201), "spec.customer.companyName"),
    "unknown plan": ({"plan": "platinum"}, 'spec.plan: Unsupported value: "platinum"'),
    "plan of another type": ({"plan": 1}, "spec.plan"),
    "field that does not exist": ({"plann": "trial"}, 'unknown field "spec.plann"'),
    "nested field that does not exist": ({"mqtt": {"exposed": "SNI"}}, 'unknown field "spec.mqtt.exposed"'),
    "empty license": ({"license": {}}, "set exactly one of spec.license.key and spec.license.secretRef"),
    "license twice": ({"license": {"key": TOKEN, "secretRef": {"name": "a"}}}, "spec.license: Invalid value"),
    "license that is no JWT": ({"license": {"key": "not-a-token-but-long-enough"}}, "spec.license.key"),
    "license without the name of its Secret": ({"license": {"secretRef": {}}}, "spec.license.secretRef.name"),
    "license in a Secret of an impossible name": (
        {"license": {"secretRef": {"name": "Not_A_Name"}}},
        "spec.license.secretRef.name",
    ),
    "unknown exposure": ({"mqtt": {"exposure": "Public"}}, 'spec.mqtt.exposure: Unsupported value: "Public"'),
    "External without a broker": ({"mqtt": {"exposure": "External"}}, "spec.mqtt.external is required with exposure"),
    "SNI with a broker": (
        {"mqtt": {"exposure": "SNI", "external": {"host": "a.example"}}},
        "spec.mqtt.external is required with exposure External, and forbidden with any other",
    ),
    "broker without a host": (external(port=8883), "spec.mqtt.external.host: Required"),
    "broker's host as a URL": (external(host="mqtts://a.example"), "spec.mqtt.external.host"),
    "broker's port 0": (external(host="a.example", port=0), "spec.mqtt.external.port"),
    "broker's port too high": (external(host="a.example", port=65536), "spec.mqtt.external.port"),
    "broker's password in the open": (external(host="a.example", password="x"), "spec.mqtt.external.password"),
    "hostname with a scheme": ({"hostname": "https://iot.acme.example"}, "spec.hostname"),
    "hostname in capitals": ({"hostname": "IoT.acme.example"}, "spec.hostname"),
    "hostname without a domain": ({"hostname": "acme"}, "spec.hostname"),
    "volume too small": (postgres(size="500Mi"), "size must be a quantity from 1Gi to 1Ti"),
    "volume too large": (postgres(size="2Ti"), "spec.storage.postgres.size"),
    "volume size that is no quantity": (postgres(size="a lot"), "spec.storage.postgres.size"),
    "StorageClass of an impossible name": (
        postgres(storageClassName="Fast!"),
        "spec.storage.postgres.storageClassName",
    ),
    "volume of nothing": ({"storage": {"postgres": {}}}, "spec.storage.postgres"),
    "Prometheus volume on a small plan": (
        {"storage": {"prometheus": {"size": "10Gi"}}},
        "spec.storage.prometheus and spec.storage.grafana need spec.plan enterprise: remove them or change the plan",
    ),
    "CPU too small": (api_resources(requests={"cpu": "1m"}), "cpu must be a quantity from 10m to 32"),
    "CPU that is no quantity": (api_resources(limits={"cpu": "fast"}), "spec.resources.api.limits.cpu"),
    "memory too large": (api_resources(limits={"memory": "256Gi"}), "memory must be a quantity from 16Mi to 128Gi"),
    "memory request over its limit": (
        api_resources(requests={"memory": "2Gi"}, limits={"memory": "1Gi"}),
        "requests.memory must not exceed limits.memory",
    ),
    "CPU request over its limit": (
        api_resources(requests={"cpu": 2}, limits={"cpu": "1500m"}),
        "requests.cpu must not exceed limits.cpu",
    ),
    "resources of an unknown component": ({"resources": {"redis": {}}}, 'unknown field "spec.resources.redis"'),
    "image with a space": ({"images": {"api": "iotistic/api: latest"}}, "spec.images.api"),
    "empty image": ({"images": {"api": ""}}, "spec.images.api"),
    "suspend as a word": ({"suspend": "yes"}, "spec.suspend"),
    "unknown deletion policy": ({"deletionPolicy": "Keep"}, 'spec.deletionPolicy: Unsupported value: "Keep"'),
}


@pytest.mark.parametrize(("spec", "names"), REFUSED.values(), ids=REFUSED.keys())
def test_a_mistake_is_refused_by_the_name_of_its_field(api: Kubernetes, spec: dict[str, Any], names: str) -> None:
    with pytest.raises(Refused) as refused:
        api.create(order("mistaken", **spec), **DRY)
    assert names in str(refused.value)


@pytest.mark.parametrize("name", ["a" * 41, "with.dots", "1.2"])
def test_a_name_that_is_no_short_dns_label_is_refused_with_the_reason(api: Kubernetes, name: str) -> None:
    with pytest.raises(Refused, match="DNS label of at most 40 characters"):
        api.create(order(name, **customer()), **DRY)


@pytest.mark.parametrize("name", ["admin", "api", "mqtt", "www"])
def test_a_name_that_would_be_a_host_of_the_platform_is_refused(api: Kubernetes, name: str) -> None:
    with pytest.raises(Refused, match="reserved for the platform's own hosts"):
        api.create(order(name), **DRY)


def test_the_longest_name_is_accepted(api: Kubernetes) -> None:
    api.create(order("a" * 40), **DRY)


@pytest.fixture(scope="module")
def idle(tenants: Tenants) -> str:
    """An instance of which the operator, should it run, makes nothing."""
    return tenants.order(paused=True, plan="enterprise", storage={"postgres": {"size": "20Gi"}})


IMMUTABLE: dict[str, tuple[dict[str, Any], str]] = {
    "customer id": ({"customer": {"id": "somebody-else"}}, "spec.customer.id is immutable"),
    "volume size": ({"storage": {"postgres": {"size": "30Gi"}}}, "spec.storage is fixed when the instance is created"),
    "a further volume": ({"storage": {"grafana": {"size": "5Gi"}}}, "restore the backup into it"),
    "no volume any more": ({"storage": None}, "spec.storage is fixed when the instance is created"),
}


@pytest.mark.parametrize(("change", "message"), IMMUTABLE.values(), ids=IMMUTABLE.keys())
def test_what_is_fixed_at_creation_cannot_be_changed(
    tenants: Tenants, idle: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        tenants.change(idle, **change)


def test_storage_cannot_be_given_afterwards(tenants: Tenants) -> None:
    name = tenants.order(paused=True)
    with pytest.raises(Refused, match=r"spec\.storage is fixed when the instance is created"):
        tenants.change(name, **postgres(size="20Gi"))


def test_everything_else_can_be_changed(tenants: Tenants, idle: str) -> None:
    changed = tenants.change(
        idle,
        customer={"email": "new@acme.example"},
        plan="professional",
        mqtt={"exposure": "NodePort"},
        hostname="iot.acme.example",
        suspend=True,
        deletionPolicy="Retain",
    )
    assert changed["metadata"]["generation"] == 2


def test_the_table_of_instances_shows_what_matters(cluster: LocalCluster, idle: str) -> None:
    header, row = cluster.kubectl("get", "custi", idle).splitlines()
    assert header.split() == ["NAME", "PLAN", "PHASE", "PROGRESS", "URL", "AGE"]
    assert row.split()[0] == idle
    assert cluster.kubectl("get", "custi", idle, "-o", "wide").splitlines()[0].split()[-2:] == ["MQTT", "MESSAGE"]


def test_instances_are_found_by_their_category(cluster: LocalCluster, idle: str) -> None:
    assert f"customerinstance.{naming.GROUP}/{idle}\n" in cluster.kubectl("get", "iotistic", "-o", "name")


def test_instances_can_be_selected_by_customer_and_plan(cluster: LocalCluster, idle: str) -> None:
    fields = f"--field-selector=spec.customer.id=cust-{idle},spec.plan!=trial"
    assert cluster.kubectl("get", "custi", fields, "-o", "name").split() == [f"customerinstance.{naming.GROUP}/{idle}"]


def test_explain_reads_like_documentation(cluster: LocalCluster) -> None:
    text = " ".join(cluster.kubectl("explain", "customerinstance.spec.mqtt").split())
    assert "How devices reach the instance's MQTT broker." in text
    assert "External: no broker is deployed; the API uses the one in spec.mqtt.external." in text
    assert "enum: SNI, NodePort, LoadBalancer, External" in text


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_described(cluster: LocalCluster, part: str) -> None:
    definition = yaml.safe_load(cluster.kubectl("get", "crd", f"{naming.PLURAL}.{naming.GROUP}", "-o", "yaml"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    assert undescribed(schema, part) == []


def undescribed(schema: dict[str, Any], path: str) -> list[str]:
    parts = {f"{path}.{name}": part for name, part in schema.get("properties", {}).items()}
    items = undescribed(schema["items"], f"{path}[]") if "items" in schema else []
    return items + [
        missing
        for at, part in parts.items()
        for missing in ([] if part.get("description") else [at]) + undescribed(part, at)
    ]


def test_a_protected_instance_is_not_deleted_and_the_refusal_names_the_cure(
    api: Kubernetes, cluster: LocalCluster, tenants: Tenants
) -> None:
    name = tenants.order(paused=True, deletionProtection=True)
    with pytest.raises(Refused, match=r"spec\.deletionProtection of CustomerInstance .* is set") as refused:
        api.delete(naming.KIND, name)
    assert tenants.get(name)["metadata"].get("deletionTimestamp") is None

    cure = str(refused.value).partition("clear it first: kubectl ")[2]
    cluster.kubectl(*shlex.split(cure))
    api.delete(naming.KIND, name)
    api.wait_for(naming.KIND, name, is_gone)
