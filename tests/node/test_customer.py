"""A customer's stack truly runs: from a signup by HTTP to a reading that arrives, with every program in a pod."""

import httpx

from hack.node import NodeCluster
from tests.support.devices import readings, register
from tests.support.platform import Customer
from tests.support.waiting import wait_until


def test_every_pod_is_ready_without_having_been_started_twice(acme: Customer) -> None:
    """Whoever needs the database or the broker waits for it, instead of failing until it is there."""
    counts = acme.restarts()
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
