"""What breaks comes back by itself: data intact, the device's one client connected again, nothing made twice."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from customer_operator import naming
from customer_operator.kube.leader import LEASE_NAME
from customer_operator.naming import Manifest
from hack.errors import ClusterError
from hack.node import NodeCluster
from tests.support.devices import Device, connect
from tests.support.failures import first_process, kill, kill_daemon
from tests.support.kubernetes import Kubernetes, is_there
from tests.support.platform import Customer, SignUp
from tests.support.waiting import wait_until

OPERATOR = "iotistic-system"
PATIENCE = 120.0
KINDS = "deployments,replicasets,statefulsets,pods,services,ingresses,configmaps,secrets,persistentvolumeclaims"
RANDOM = ("ReplicaSet", "Pod")
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def device(acme: Customer) -> Iterator[Device]:
    """A device that lives through all that happens here."""
    with connect(acme, "thermometer") as device:
        yield device


@pytest.mark.parametrize("program", ["postgres", "mosquitto", "api"])
def test_what_is_killed_comes_back_with_its_data(
    acme: Customer, device: Device, program: str, record_property: Record
) -> None:
    """Nothing else is started again. What the broker has not passed on ends with it; nothing else ends."""
    known = set(device.acknowledged)
    device.deliver()
    before, connections, promised = acme.restarts(), device.connections, device.stored()

    kill(first_process(acme.pods(), program))
    record_property(f"{program} killed, seconds to the next reading", device.deliver())

    if program != "mosquitto":
        promised |= device.acknowledged - known
    wait_until(lambda: device.stored() >= promised)
    assert (device.connections > connections) is (program == "mosquitto")
    wait_until(lambda: acme.restarts()[program] > before[program] and acme.all_ready(), timeout=PATIENCE)
    acme.wait_ready()
    assert acme.restarts() == {**before, program: before[program] + 1}


@pytest.mark.parametrize("daemon", ["containerd", "kubelet"])
def test_a_stack_outlives_what_has_started_it(
    acme: Customer, device: Device, cluster: NodeCluster, daemon: str, record_property: Record
) -> None:
    device.deliver()
    before, connections = acme.restarts(), device.connections
    processes = [first_process(acme.pods(), container) for container in before]

    killed = time.monotonic()
    kill_daemon(cluster, daemon)
    wait_until(lambda: commands_run(acme), timeout=PATIENCE)
    record_property(f"{daemon} killed, seconds until commands run in containers", time.monotonic() - killed)

    device.deliver()
    acme.wait_ready()
    assert all(process.is_alive() for process in processes)
    assert acme.restarts() == before
    assert device.connections == connections


def commands_run(customer: Customer) -> bool:
    """Tell whether kubelet and container runtime do together what they are asked for."""
    try:
        return customer.sql("SELECT 1") == "1"
    except ClusterError:
        return False


def test_a_leader_that_dies_while_it_provisions_is_replaced_and_makes_nothing_twice(
    acme: Customer, sign_up: SignUp, api: Kubernetes, cluster: NodeCluster, record_property: Record
) -> None:
    """It dies with its pod, as with its node: one that is only started again would take its own Lease at once."""
    lease = api.get("Lease", LEASE_NAME, namespace=OPERATOR)
    leader, standby = leading_first(api.items("Pod", namespace=OPERATOR), lease)
    process = first_process([leader], "operator")
    complete = inventory(acme)

    newcomer = sign_up("grace@failures.example")
    api.wait_for("Secret", "credentials", is_there, namespace=newcomer.namespace)
    kill(process)
    api.delete("Pod", name(leader), namespace=OPERATOR, gracePeriodSeconds="0")
    killed, credentials = time.monotonic(), newcomer.secret("credentials")
    assert {kind for kind, _ in complete - inventory(newcomer)} & {"Deployment", "StatefulSet"}

    lease = api.wait_for("Lease", LEASE_NAME, lambda it: holder(it) != name(leader), namespace=OPERATOR)
    record_property("operator killed, seconds until the other one leads", time.monotonic() - killed)
    assert holder(lease) == name(standby)
    newcomer.wait_ready()
    record_property("operator killed, seconds until the customer is Ready", time.monotonic() - killed)

    assert inventory(newcomer) == complete
    assert set(newcomer.restarts().values()) == {0}
    assert newcomer.secret("credentials") == credentials
    cluster.kubectl("rollout", "status", "deployment/customer-operator", "--namespace", OPERATOR, "--timeout=120s")


def leading_first(pods: list[Manifest], lease: Manifest) -> list[Manifest]:
    """Return the two replicas of the operator, the leader before the other."""
    return sorted(pods, key=lambda pod: name(pod) != holder(lease))


def holder(lease: Manifest | None) -> str:
    """Return who leads; a replica calls itself like its pod."""
    return str((lease or {"spec": {}})["spec"].get("holderIdentity"))


def name(resource: Manifest) -> str:
    """Return an object's name."""
    return str(resource["metadata"]["name"])


def inventory(customer: Customer) -> Counter[tuple[str, str]]:
    """Return how much there is of what in the stack's namespace: by kind and name, or component of random names."""
    found = json.loads(customer.cluster.kubectl("get", KINDS, "--namespace", customer.namespace, "--output=json"))
    named = {True: naming.component_of, False: name}
    return Counter((item["kind"], named[item["kind"] in RANDOM](item)) for item in found["items"])
