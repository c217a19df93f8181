"""The life of a customer whose device never stops publishing: whatever is done to the stack, no reading is lost.

The tests go on with what the ones before them have left, for a stack takes half a minute to come up.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from customer_operator import naming
from customer_operator.naming import COMPONENT_LABEL, Manifest
from hack.images import ensure_images
from hack.node import NodeCluster
from tests.support.administration import (
    change,
    license_for,
    reconfigure,
    served_certificate,
    try_again,
    without_operator,
)
from tests.support.kubernetes import condition_of, in_phase, is_gone
from tests.support.platform import PATIENCE, Customer, SignUp
from tests.support.releases import release
from tests.support.steady_device import SteadyDevice, publishing
from tests.support.traces import Traces
from tests.support.waiting import wait_until

API_IMAGE, NEW_API_IMAGE = "iotistic/api:1.0.0", "iotistic/api:1.0.1"


@pytest.fixture(scope="module")
def initech(sign_up: SignUp) -> Customer:
    """A customer whose stack is Ready."""
    customer = sign_up("bill@initech.example")
    customer.wait_ready()
    return customer


@pytest.fixture(scope="module")
def device(initech: Customer) -> Iterator[SteadyDevice]:
    """Their device."""
    with publishing(initech, "meter") as device:
        yield device


def running(customer: Customer, *components: str) -> dict[str, str]:
    """Return by pod and container which one it is, of these components; one that was started again is another."""
    return {
        f"{pod['metadata']['name']}/{status['name']}": status["containerID"]
        for pod in customer.pods()
        if pod["metadata"]["labels"][COMPONENT_LABEL] in components
        for status in pod["status"]["containerStatuses"]
    }


def claims(customer: Customer) -> dict[str, str]:
    """Return the volume of each claim that is bound to one."""
    items = customer.api.items("PersistentVolumeClaim", namespace=customer.namespace)
    return {
        item["metadata"]["name"]: item["spec"]["volumeName"] for item in items if item["status"]["phase"] == "Bound"
    }


def memory_quota(customer: Customer) -> str:
    """Return how much memory the pods of the stack may ask for together."""
    (quota,) = customer.api.items("ResourceQuota", namespace=customer.namespace)
    return str(quota["status"]["hard"]["requests.memory"])


def granted(customer: Customer) -> tuple[str, int]:
    """Return plan and number of devices that the API grants."""
    with customer.devices() as api:
        instance = api.get("/api/instance").json()
    return instance["plan"], instance["maxDevices"]


def test_a_larger_plan_reaches_quota_workloads_and_api_and_cuts_no_device_off(
    initech: Customer, device: SteadyDevice
) -> None:
    assert (memory_quota(initech), granted(initech)) == ("2Gi", ("trial", 10))
    device.go_on()
    before, connections = running(initech, "postgres", "mosquitto"), device.connections

    change(initech, plan="professional", license={"key": license_for(initech, "professional")})

    initech.wait_ready()
    assert memory_quota(initech) == "3Gi"
    assert initech.api.get("Deployment", "dashboard", namespace=initech.namespace)["status"]["readyReplicas"] == 2
    wait_until(lambda: granted(initech) == ("professional", 100))
    assert device.lost() == set()
    assert (running(initech, "postgres", "mosquitto"), device.connections) == (before, connections)


def test_a_suspended_stack_has_no_pods_and_comes_back_with_its_data(initech: Customer, device: SteadyDevice) -> None:
    device.go_on()
    volumes = claims(initech)

    change(initech, suspend=True)
    initech.api.wait_for(naming.KIND, initech.name, in_phase("Suspended"), timeout=PATIENCE)
    wait_until(lambda: not initech.pods(), timeout=PATIENCE)
    assert claims(initech) == volumes
    change(initech, suspend=False)

    initech.wait_ready()
    assert device.lost() == set()


def test_a_renewed_certificate_is_served_and_the_database_goes_on(initech: Customer, device: SteadyDevice) -> None:
    """The device trusts what it has trusted from the beginning: the authority."""
    device.go_on()
    before, database = served_certificate(initech), running(initech, "postgres", "api")
    connections = device.connections

    removed = {"data": {"tls_private_key_pem": None}}
    initech.api.patch("Secret", naming.CREDENTIALS_SECRET, removed, namespace=initech.namespace)
    try_again(initech)

    wait_until(lambda: device.connections > connections, timeout=PATIENCE)
    initech.wait_ready()
    served = served_certificate(initech)
    assert served.serial_number != before.serial_number
    assert served.public_key() != before.public_key()
    assert device.lost() == set()
    assert running(initech, "postgres", "api") == database


def test_passwords_deleted_under_a_running_operator_are_written_again(initech: Customer, device: SteadyDevice) -> None:
    everything = ("postgres", "mosquitto", "api", "dashboard", "mqtt-exporter")
    before, credentials = running(initech, *everything), initech.secret(naming.CREDENTIALS_SECRET)

    initech.api.delete("Secret", naming.CREDENTIALS_SECRET, namespace=initech.namespace)
    try_again(initech)

    assert initech.secret(naming.CREDENTIALS_SECRET) == credentials
    assert device.lost() == set()
    assert running(initech, *everything) == before


def test_passwords_deleted_while_no_operator_runs_are_lost_until_they_are_restored_and_nothing_stops_for_it(
    initech: Customer, cluster: NodeCluster, device: SteadyDevice
) -> None:
    before, connections = running(initech, "postgres", "mosquitto", "api"), device.connections
    backup = initech.api.get("Secret", naming.CREDENTIALS_SECRET, namespace=initech.namespace)

    with without_operator(cluster):
        initech.api.delete("Secret", naming.CREDENTIALS_SECRET, namespace=initech.namespace)

    live = initech.api.wait_for(naming.KIND, initech.name, in_phase("Failed"), timeout=PATIENCE)
    assert condition_of(live, "Stalled")["reason"] == "CredentialsLost"
    assert device.lost() == set()
    initech.api.create({**backup, "metadata": kept(backup)})
    try_again(initech)
    initech.wait_ready()
    assert device.lost() == set()
    assert (running(initech, "postgres", "mosquitto", "api"), device.connections) == (before, connections)


def kept(live: Manifest) -> Manifest:
    """Return the metadata of an object that a backup keeps."""
    return {key: live["metadata"][key] for key in ("name", "namespace", "labels") if key in live["metadata"]}


def test_an_update_of_the_apis_image_loses_no_reading_that_was_acknowledged(
    initech: Customer, cluster: NodeCluster, device: SteadyDevice, tmp_path: Path
) -> None:
    device.go_on()
    before, connections = running(initech, "api"), device.connections
    archive = ensure_images([API_IMAGE])[API_IMAGE]
    cluster.load_images([release(archive, NEW_API_IMAGE, tmp_path / "api.tar")])

    reconfigure(cluster, tmp_path, IMAGE_API=NEW_API_IMAGE)

    def updated(live: Manifest | None) -> bool:
        assert live
        return bool(live["spec"]["template"]["spec"]["containers"][0]["image"] == NEW_API_IMAGE)

    initech.api.wait_for("Deployment", "api", updated, namespace=initech.namespace, timeout=PATIENCE)
    patience = f"--timeout={PATIENCE:g}s"
    cluster.kubectl("rollout", "status", "deployment/api", "--namespace", initech.namespace, patience)
    wait_until(lambda: not before.keys() & running(initech, "api").keys(), timeout=PATIENCE)
    assert device.lost() == set()
    assert device.connections == connections


def test_a_retained_namespace_is_taken_up_again_with_its_data(initech: Customer, device: SteadyDevice) -> None:
    device.go_on()
    volumes, backup = claims(initech), initech.api.get(naming.KIND, initech.name)
    change(initech, deletionPolicy="Retain")
    initech.api.wait_for("Namespace", initech.namespace, has_no_owner, timeout=PATIENCE)

    initech.delete()
    initech.api.wait_for(naming.KIND, initech.name, is_gone, timeout=PATIENCE)
    wait_until(lambda: not initech.pods(), timeout=PATIENCE)
    assert claims(initech) == volumes
    spec = {**backup["spec"], "deletionPolicy": "Delete"}
    initech.api.create({**backup, "metadata": kept(backup), "spec": spec})

    initech.wait_ready()
    assert device.lost() == set()


def has_no_owner(live: Manifest | None) -> bool:
    """Tell that garbage collection cannot follow anybody to this object."""
    return live is not None and "ownerReferences" not in live["metadata"]


def test_of_a_customer_who_is_deleted_for_good_nothing_is_left(initech: Customer, node: NodeCluster) -> None:
    traces = Traces.of(initech, node)
    assert all((traces.volumes, traces.folders, traces.groups))

    initech.delete()

    initech.wait_gone()
    wait_until(lambda: not traces.left(initech), timeout=PATIENCE)
