"""A customer's stack truly runs: from a signup by HTTP to a reading that arrives, with every program in a pod."""

import queue
import ssl
import subprocess

import httpx
import pytest

from customer_operator.naming import Manifest
from hack.node import NodeCluster
from tests.support.mqtt import Login, Refused
from tests.support.platform import Customer, Platform
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def acme(platform: Platform) -> Customer:
    """A customer whose stack is Ready."""
    customer = platform.sign_up("ada@acme.example")
    customer.wait_ready()
    return customer


@pytest.fixture(scope="module")
def globex(platform: Platform) -> Customer:
    """Another one."""
    customer = platform.sign_up("hank@globex.example")
    customer.wait_ready()
    return customer


def register(customer: Customer, name: str) -> Login:
    """Register a device by the API; return what it logs in with."""
    with customer.devices() as client:
        answer = client.post("/api/devices", json={"name": name})
    assert answer.status_code == 201, answer.text
    return Login(answer.json()["username"], answer.json()["password"])


def readings(customer: Customer, device: str) -> list[float]:
    """What the API has stored of a device, the latest first."""
    with customer.devices() as client:
        answer = client.get(f"/api/devices/{device}/readings")
    return [reading["value"] for reading in answer.json()["readings"]]


def restarts(pods: list[Manifest]) -> dict[str, int]:
    """How often each container has been started again."""
    statuses = [status for pod in pods for status in pod["status"]["containerStatuses"]]
    return {status["name"]: status["restartCount"] for status in statuses}


def test_every_pod_is_ready_without_having_been_started_twice(acme: Customer) -> None:
    """Whoever needs the database or the broker waits for it, instead of failing until it is there."""
    counts = restarts(acme.pods())
    assert set(counts) >= {"postgres", "postgres-exporter", "mosquitto", "mqtt-exporter", "api", "dashboard"}
    assert set(counts.values()) == {0}


def test_the_dashboard_is_behind_the_ingress_with_tls(acme: Customer, cluster: NodeCluster) -> None:
    with acme.web(cluster.entrances["https"]) as browser:
        page = browser.get("/", follow_redirects=True)
        health = browser.get("/api/health")
    assert page.status_code == 200
    assert "Acme" in page.text
    assert health.json()["database"] == "ok"


def test_a_devices_reading_arrives_in_the_database(acme: Customer) -> None:
    login = register(acme, "thermometer")
    with acme.broker(login) as device:
        assert device.publish("t/thermometer/temperature", "21.5") == "Success"

    wait_until(lambda: readings(acme, "thermometer") == [21.5])
    assert acme.sql("SELECT count(*) FROM readings") == "1"


def test_the_exporter_counts_what_was_published(acme: Customer) -> None:
    login = register(acme, "counter")
    before = metric(acme, "mosquitto_broker_publish_messages_received_total")
    with acme.broker(login) as device:
        for number in range(20):
            assert device.publish("t/counter/number", str(number)) == "Success"

    wait_until(lambda: metric(acme, "mosquitto_broker_publish_messages_received_total") >= before + 20, timeout=60)


def metric(customer: Customer, name: str) -> float:
    """One metric of the stack's MQTT exporter."""
    with customer.cluster.reach(customer.namespace, "mqtt-exporter", 9234) as (host, port):
        text = httpx.get(f"http://{host}:{port}/metrics", trust_env=False).text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


def test_a_devices_login_opens_no_other_customers_broker(acme: Customer, globex: Customer) -> None:
    login = register(acme, "stranger")
    with pytest.raises(Refused), globex.broker(login):
        pass


def test_two_customers_hold_what_they_have_measured_apart(acme: Customer, globex: Customer) -> None:
    for customer, value in ((acme, "1"), (globex, "2")):
        with customer.broker(register(customer, "twin")) as device:
            assert device.publish("t/twin/number", value) == "Success"

    wait_until(lambda: readings(acme, "twin") == [1.0])
    wait_until(lambda: readings(globex, "twin") == [2.0])


@pytest.mark.parametrize("program", ["postgres", "mosquitto", "api"])
def test_what_is_killed_comes_back_with_its_data(acme: Customer, cluster: NodeCluster, program: str) -> None:
    """kill -9, as the kernel does when memory runs out."""
    device_name = f"before-{program}"
    login = register(acme, device_name)
    with acme.broker(login) as device:
        assert device.publish(f"t/{device_name}/number", "1") == "Success"
    wait_until(lambda: readings(acme, device_name) == [1.0])
    before = restarts(acme.pods())[program]

    kill(cluster, acme, program)

    wait_until(lambda: restarts(acme.pods())[program] == before + 1, timeout=120)
    acme.wait_ready()
    wait_until(lambda: attempt(acme, login, f"t/{device_name}/number", "2"), timeout=120)
    wait_until(lambda: readings(acme, device_name) == [2.0, 1.0], timeout=120)


def kill(cluster: NodeCluster, customer: Customer, container: str) -> None:
    """End a container's first process without warning."""
    ctr = str(cluster.files.programs / "ctr")
    command = cluster.inside([ctr, "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL"])
    statuses = [status for pod in customer.pods() for status in pod["status"]["containerStatuses"]]
    identity = next(status["containerID"] for status in statuses if status["name"] == container)
    subprocess.run([*command, identity.removeprefix("containerd://")], check=True)


def attempt(customer: Customer, login: Login, topic: str, payload: str) -> bool:
    """Publish as a device would that tries again and again; tell whether it was acknowledged."""
    try:
        with customer.broker(login) as device:
            return device.publish(topic, payload) == "Success"
    except (OSError, Refused, ssl.SSLError, queue.Empty):
        return False
