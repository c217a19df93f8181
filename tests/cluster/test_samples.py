"""The samples come true on a platform with a domain: each is applied as a platform engineer would."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from customer_operator import naming
from customer_operator.licensing.token import audience
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support import licenses
from tests.support.kubernetes import Kubernetes, condition_of, in_phase
from tests.support.operators import Operators

FOLDER = PROJECT_ROOT / "manifests" / "samples"
SAMPLES: dict[str, Manifest] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
RESTING = {"paused": "Pending", "suspended": "Suspended"}


@pytest.fixture(scope="module")
def applied(cluster: LocalCluster, operators: Operators) -> Iterator[None]:
    """All samples, and what their comments say must be there first."""
    operators.stop()
    operators.start("domain", BASE_DOMAIN="iot.example.com", IMAGE_REGISTRIES="registry.example/iotistic")
    secret("globex-mqtt", cluster, instance="globex", username="fake-user", password="fake-password")
    license_key = licenses.sign(aud=audience("initech"), plan="professional")
    secret("initech-license", cluster, instance="initech", license=license_key)
    storage_class = json.loads(cluster.kubectl("get", "storageclass", "standard", "-o", "json"))
    cluster.kubectl("apply", "-f", "-", input=json.dumps({**storage_class, "metadata": {"name": "fast-ssd"}}))
    cluster.kubectl("apply", "-f", str(FOLDER))
    yield
    cluster.kubectl("patch", "custi", "northwind", "--type=merge", "-p", '{"spec":{"deletionProtection":false}}')
    cluster.kubectl("delete", "-f", str(FOLDER), "--wait=false")


def secret(name: str, cluster: LocalCluster, *, instance: str, **values: str) -> None:
    literals = [f"--from-literal={key}={value}" for key, value in values.items()]
    home = ("--namespace", naming.OPERATOR_NAMESPACE)
    cluster.kubectl("create", "secret", "generic", name, *home, *literals)
    cluster.kubectl("label", "secret", name, *home, f"{naming.INSTANCE_LABEL}={instance}")


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("title", SAMPLES)
def test_a_sample_becomes_what_it_promises(api: Kubernetes, title: str) -> None:
    name, phase = SAMPLES[title]["metadata"]["name"], RESTING.get(title, "Ready")
    live = api.wait_for(naming.KIND, name, in_phase(phase))
    assert condition_of(live, "LicenseValid")["status"] == "True"
    assert condition_of(live, "Stalled")["status"] == "False"


# Where devices find the broker, and the type of the Service that they reach; without a Service of our own: None.
# This platform has no front door (FRONT_DOOR), so SNI is served by a node port.
ADDRESSES: dict[str, tuple[str, str | None]] = {
    "trial-sni": ("mqtts://mqtt.acme.iot.example.com:{port}", "NodePort"),
    "starter-nodeport": ("mqtts://mqtt.harbour-cranes.iot.example.com:{port}", "NodePort"),
    "professional-loadbalancer": ("mqtts://mqtt.northwind.iot.example.com:8883", "LoadBalancer"),
    "enterprise-external": ("mqtts://mqtt.globex.example:8883", None),
    "custom-domain": ("mqtts://mqtt.wayne.iot.example.com:{port}", "NodePort"),
}


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("title", ADDRESSES)
def test_devices_find_the_broker_as_the_exposure_says(api: Kubernetes, title: str) -> None:
    name = SAMPLES[title]["metadata"]["name"]
    url, kind = ADDRESSES[title]
    service = api.find("Service", "mqtt", namespace=naming.namespace_of(name))
    port = service["spec"]["ports"][0].get("nodePort") if service else None
    assert (service["spec"]["type"] if service else None) == kind
    assert ready(api, name)["status"]["urls"]["mqtt"] == url.format(port=port)


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("title", "host"), [("trial-sni", "acme.iot.example.com"), ("custom-domain", "iot.wayne.example")]
)
def test_the_web_is_reached_through_an_ingress_with_a_certificate(api: Kubernetes, title: str, host: str) -> None:
    name = SAMPLES[title]["metadata"]["name"]
    assert ready(api, name)["status"]["urls"]["dashboard"] == f"https://{host}"
    [ingress] = api.items("Ingress", namespace=naming.namespace_of(name))
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == [host]
    assert ingress["spec"]["tls"] == [{"hosts": [host], "secretName": "web-tls"}]


@pytest.mark.usefixtures("applied")
def test_overrides_reach_pods_and_volumes(api: Kubernetes) -> None:
    name = SAMPLES["overrides"]["metadata"]["name"]
    ready(api, name)
    namespace = naming.namespace_of(name)
    server = api.get("Deployment", "api", namespace=namespace)["spec"]["template"]["spec"]["containers"][0]
    assert server["image"] == "registry.example/iotistic/api:2.4.1"
    assert server["resources"]["limits"]["memory"] == "1Gi"
    claims = {item["metadata"]["name"]: item for item in api.items("PersistentVolumeClaim", namespace=namespace)}
    database = claims["data-postgres-0"]
    assert (database["status"]["capacity"]["storage"], database["spec"]["storageClassName"]) == ("50Gi", "fast-ssd")
    assert claims["data-mosquitto-0"]["spec"]["storageClassName"] == "standard"


def ready(api: Kubernetes, name: str) -> dict[str, Any]:
    return api.wait_for(naming.KIND, name, in_phase("Ready"))
