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
from tests.support.platform import PATIENCE, Customer
from tests.support.releases import release
from tests.support.steady_device import SteadyDevice, publishing
from tests.support.traces import Traces
from tests.support.waiting import wait_until

API_IMAGE, NEW_API_IMAGE = "iotistic/api:1.0.0", "iotistic/api:1.0.1"


@pytest.fixture(scope="module")
def device(acme: Customer) -> Iterator[SteadyDevice]:
    """Their device."""
    with publishing(acme, "meter") as device:
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
    acme: Customer, device: SteadyDevice
) -> None:
    assert (memory_quota(acme), granted(acme)) == ("2Gi", ("trial", 10))
    device.go_on()
    before, connections = running(acme, "postgres", "mosquitto"), device.connections

    change(acme, plan="professional", license={"key": license_for(acme, "professional")})

    acme.wait_ready()
    assert memory_quota(acme) == "3Gi"
    assert acme.api.get("Deployment", "dashboard", namespace=acme.namespace)["status"]["readyReplicas"] == 2
    wait_until(lambda: granted(acme) == ("professional", 100))
    assert device.lost() == set()
    assert (running(acme, "postgres", "mosquitto"), device.connections) == (before, connections)


def test_a_suspended_stack_has_no_pods_and_comes_back_with_its_data(acme: Customer, device: SteadyDevice) -> None:
    device.go_on()
    volumes = claims(acme)

    change(acme, suspend=True)
    acme.api.wait_for(naming.KIND, acme.name, in_phase("Suspended"), timeout=PATIENCE)
    wait_until(lambda: not acme.pods(), timeout=PATIENCE)
    assert claims(acme) == volumes
    change(acme, suspend=False)

    acme.wait_ready()
    assert device.lost() == set()


def test_a_renewed_certificate_is_served_and_the_database_goes_on(acme: Customer, device: SteadyDevice) -> None:
    """The device trusts what it has trusted from the beginning: the authority."""
    device.go_on()
    before, database = served_certificate(acme), running(acme, "postgres", "api")
    connections = device.connections

    removed = {"data": {"tls_private_key_pem": None}}
    acme.api.patch("Secret", naming.CREDENTIALS_SECRET, removed, namespace=acme.namespace)
    try_again(acme)

    wait_until(lambda: device.connections > connections, timeout=PATIENCE)
    acme.wait_ready()
    served = served_certificate(acme)
    assert served.serial_number != before.serial_number
    assert served.public_key() != before.public_key()
    assert device.lost() == set()
    assert running(acme, "postgres", "api") == database


def test_passwords_deleted_under_a_running_operator_are_written_again(acme: Customer, device: SteadyDevice) -> None:
    everything = ("postgres", "mosquitto", "api", "dashboard", "mqtt-exporter")
    before, credentials = running(acme, *everything), acme.secret(naming.CREDENTIALS_SECRET)

    acme.api.delete("Secret", naming.CREDENTIALS_SECRET, namespace=acme.namespace)
    try_again(acme)

    assert acme.secret(naming.CREDENTIALS_SECRET) == credentials
    assert device.lost() == set()
    assert running(acme, *everything) == before


def test_passwords_deleted_while_no_operator_runs_are_lost_until_they_are_restored_and_nothing_stops_for_it(
    acme: Customer, cluster: NodeCluster, device: SteadyDevice
) -> None:
    before, connections = running(acme, "postgres", "mosquitto", "api"), device.connections
    backup = acme.api.get("Secret", naming.CREDENTIALS_SECRET, namespace=acme.namespace)

    with without_operator(cluster):
        acme.api.delete("Secret", naming.CREDENTIALS_SECRET, namespace=acme.namespace)

    live = acme.api.wait_for(naming.KIND, acme.name, in_phase("Failed"), timeout=PATIENCE)
    assert condition_of(live, "Stalled")["reason"] == "CredentialsLost"
    assert device.lost() == set()
    acme.api.create({**backup, "metadata": kept(backup)})
    try_again(acme)
    acme.wait_ready()
    assert device.lost() == set()
    assert (running(acme, "postgres", "mosquitto", "api"), device.connections) == (before, connections)


def kept(live: Manifest) -> Manifest:
    """Return the metadata of an object that a backup keeps."""
    return {key: live["metadata"][key] for key in ("name", "namespace", "labels") if key in live["metadata"]}


def test_an_update_of_the_apis_image_loses_no_reading_that_was_acknowledged(
    acme: Customer, cluster: NodeCluster, device: SteadyDevice, tmp_path: Path
) -> None:
    device.go_on()
    before, connections = running(acme, "api"), device.connections
    archive = ensure_images([API_IMAGE])[API_IMAGE]
    cluster.load_images([release(archive, NEW_API_IMAGE, tmp_path / "api.tar")])

    reconfigure(cluster, tmp_path, IMAGE_API=NEW_API_IMAGE)

    def updated(live: Manifest | None) -> bool:
        assert live
        return bool(live["spec"]["template"]["spec"]["containers"][0]["image"] == NEW_API_IMAGE)

    acme.api.wait_for("Deployment", "api", updated, namespace=acme.namespace, timeout=PATIENCE)
    patience = f"--timeout={PATIENCE:g}s"
    cluster.kubectl("rollout", "status", "deployment/api", "--namespace", acme.namespace, patience)
    wait_until(lambda: not before.keys() & running(acme, "api").keys(), timeout=PATIENCE)
    assert device.lost() == set()
    assert device.connections == connections


def test_a_retained_namespace_is_taken_up_again_with_its_data(acme: Customer, device: SteadyDevice) -> None:
    device.go_on()
    volumes, backup = claims(acme), acme.api.get(naming.KIND, acme.name)
    change(acme, deletionPolicy="Retain")
    acme.api.wait_for("Namespace", acme.namespace, has_no_owner, timeout=PATIENCE)

    acme.delete()
    acme.api.wait_for(naming.KIND, acme.name, is_gone, timeout=PATIENCE)
    wait_until(lambda: not acme.pods(), timeout=PATIENCE)
    assert claims(acme) == volumes
    spec = {**backup["spec"], "deletionPolicy": "Delete"}
    acme.api.create({**backup, "metadata": kept(backup), "spec": spec})

    acme.wait_ready()
    assert device.lost() == set()


def has_no_owner(live: Manifest | None) -> bool:
    """Tell that garbage collection cannot follow anybody to this object."""
    return live is not None and "ownerReferences" not in live["metadata"]


def test_of_a_customer_who_is_deleted_for_good_nothing_is_left(acme: Customer, node: NodeCluster) -> None:
    traces = Traces.of(acme, node)
    assert all((traces.volumes, traces.folders, traces.groups))

    acme.delete()

    acme.wait_gone()
    wait_until(lambda: not traces.left(acme), timeout=PATIENCE)
